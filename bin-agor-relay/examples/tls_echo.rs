//! The bare peer of the benchmark: a tokio-tungstenite echo over TLS, and a client that measures round trips
//! and counts lines.
//!
//!     tls_echo serve CERT KEY                         prints its port, echoes every message
//!     tls_echo floor CERT KEY                         the same by way of a process `cat`, with blocking pipes: the
//!                                                     least that any relay to a process can cost
//!     tls_echo rtt URL PIN-LESS-MODE TOKEN N          p50 and p99 of N round trips, in microseconds
//!
//! `rtt` speaks to the echo (`echo`) or to a session `cat` behind agor-relay (`relay`) or agor-relay's raw
//! mode and websocketd (`line`); it trusts any certificate, since it sends nothing that matters.

use std::sync::Arc;
use std::time::Instant;

use futures_util::{SinkExt as _, StreamExt as _};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

type Failure = Box<dyn std::error::Error>;

#[derive(Debug)]
struct Anyone(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// A process `cat`, written to and read from without an event loop between.
struct Cat {
    stdin: std::process::ChildStdin,
    stdout: std::process::ChildStdout,
    buffer: Vec<u8>,
}

impl Cat {
    fn start() -> std::io::Result<Cat> {
        use std::process::{Command, Stdio};
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let missing = || std::io::Error::other("a pipe is missing");
        let stdin = child.stdin.take().ok_or_else(missing)?;
        let stdout = child.stdout.take().ok_or_else(missing)?;
        Ok(Cat { stdin, stdout, buffer: vec![0; 64 << 10] })
    }

    fn pass(&mut self, bytes: &[u8]) -> std::io::Result<String> {
        use std::io::{Read as _, Write as _};
        self.stdin.write_all(bytes)?;
        let n = self.stdout.read(&mut self.buffer)?;
        Ok(String::from_utf8_lossy(&self.buffer[..n]).into_owned())
    }
}

async fn serve(cert: &str, key: &str, through_cat: bool) -> Result<(), Failure> {
    let chain = CertificateDer::pem_file_iter(cert)?.collect::<Result<Vec<_>, _>>()?;
    let config = rustls::ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    say(&listener.local_addr()?.port().to_string());
    loop {
        let (tcp, _) = listener.accept().await?;
        tcp.set_nodelay(true)?;
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            let Ok(tls) = acceptor.accept(tcp).await else { return };
            let Ok(mut ws) = tokio_tungstenite::accept_async(tls).await else { return };
            if through_cat {
                let Ok(mut cat) = Cat::start() else { return };
                while let Some(Ok(message)) = ws.next().await {
                    let Ok(text) = message
                        .to_text()
                        .map_err(drop)
                        .and_then(|text| cat.pass(text.as_bytes()).map_err(drop))
                    else {
                        return;
                    };
                    if ws.send(Message::text(text)).await.is_err() {
                        return;
                    }
                }
                return;
            }
            while let Some(Ok(message)) = ws.next().await {
                if (message.is_text() || message.is_binary()) && ws.send(message).await.is_err() {
                    return;
                }
            }
        });
    }
}

trait Io: AsyncRead + AsyncWrite + Unpin {}
impl<T: AsyncRead + AsyncWrite + Unpin> Io for T {}

async fn rtt(url: &str, mode: &str, token: &str, count: usize) -> Result<(), Failure> {
    let (tls, rest) = match url.strip_prefix("wss://") {
        Some(rest) => (true, rest),
        None => (false, url.strip_prefix("ws://").ok_or("ws:// or wss://")?),
    };
    let authority = rest.split('/').next().unwrap_or_default();
    let tcp = TcpStream::connect(authority).await?;
    tcp.set_nodelay(true)?;
    let stream: Box<dyn Io> = if tls {
        let config = rustls::ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anyone(provider())))
            .with_no_client_auth();
        let name = ServerName::try_from("localhost")?;
        Box::new(TlsConnector::from(Arc::new(config)).connect(name, tcp).await?)
    } else {
        Box::new(tcp)
    };
    let mut request = url.into_client_request()?;
    if mode != "echo" {
        request.headers_mut().insert("authorization", format!("Bearer {token}").parse()?);
    }
    let (mut ws, _) = tokio_tungstenite::client_async(request, stream).await?;
    if mode == "relay" {
        ws.send(Message::text(r#"{"id":0,"type":"session_attach","payload":{"write":true}}"#)).await?;
        while !ws.next().await.ok_or("closed")??.to_text()?.contains("\"result\"") {}
    }
    let line = "x".repeat(64);
    let mut times = Vec::with_capacity(count);
    for n in 1..=count {
        let text = match mode {
            "relay" => format!(r#"{{"id":{n},"type":"session_write","payload":{{"data":"{line}\n"}}}}"#),
            _ => line.clone(),
        };
        let began = Instant::now();
        ws.send(Message::text(text)).await?;
        loop {
            let message = ws.next().await.ok_or("closed")??;
            if mode != "relay" || message.to_text()?.contains("\"output\"") {
                break;
            }
        }
        times.push(began.elapsed().as_secs_f64() * 1e6);
    }
    times.sort_by(f64::total_cmp);
    let at = |q: f64| times[((times.len() - 1) as f64 * q) as usize];
    say(&format!("{{\"p50_us\":{:.1},\"p99_us\":{:.1},\"n\":{count}}}", at(0.5), at(0.99)));
    Ok(())
}

fn say(line: &str) {
    use std::io::Write as _;
    let mut out = std::io::stdout();
    // A reader that is gone wants to hear nothing.
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

fn main() -> Result<(), Failure> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match args.as_slice() {
            ["serve", cert, key] => serve(cert, key, false).await,
            ["floor", cert, key] => serve(cert, key, true).await,
            ["rtt", url, mode, token, count] => rtt(url, mode, token, count.parse()?).await,
            _ => Err("tls_echo serve|floor CERT KEY | rtt URL echo|relay|line TOKEN N".into()),
        }
    })
}
