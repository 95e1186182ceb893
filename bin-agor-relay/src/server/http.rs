//! The HTTP side: who may upgrade, and the two routes for health and metrics. Decides; sends nothing.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode, Version};

use crate::config::is_name;
use crate::token::{self, Grant};

/// The subprotocol that a browser offers and is answered with.
const SUBPROTOCOL: &str = "agor-relay";
/// Before a token in base64url, as one more subprotocol: never answered with.
const TOKEN_SUBPROTOCOL: &str = "agor-relay.bearer.";

/// What a request is for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The protocol.
    Control,
    /// A private instance of this session, one line per message; all messages binary, if asked for.
    Raw {
        session: String,
        binary: bool,
    },
    Health,
    Metrics,
}

/// A refusal: status, and a word about it that tells an attacker nothing.
pub(crate) type Refused = (StatusCode, &'static str);

/// The body that every response has.
pub(crate) type Body = Full<Bytes>;

/// Checks everything that needs no token: method, version, path, framing.
pub(crate) fn target<B>(request: &Request<B>) -> Result<Target, Refused> {
    let bad = |why| Err((StatusCode::BAD_REQUEST, why));
    if request.version() != Version::HTTP_11 {
        return bad("HTTP/1.1 only");
    }
    if request.uri().authority().is_some() || request.uri().scheme().is_some() {
        return bad("absolute request target");
    }
    let headers = request.headers();
    if count(headers, &header::HOST) != 1 {
        return bad("one Host header");
    }
    let length = headers.get(header::CONTENT_LENGTH).map(HeaderValue::as_bytes);
    if headers.contains_key(header::TRANSFER_ENCODING) || !matches!(length, None | Some(b"0")) {
        return bad("no request body");
    }
    if request.uri().query().is_some() {
        return bad("no query string; the token belongs into the Authorization header");
    }
    if request.method() != Method::GET {
        return Err((StatusCode::METHOD_NOT_ALLOWED, "GET only"));
    }
    match request.uri().path() {
        "/" => Ok(Target::Control),
        "/healthz" => Ok(Target::Health),
        "/metrics" => Ok(Target::Metrics),
        path => {
            let name = path.strip_prefix("/raw/").unwrap_or_default();
            let (name, binary) = name.strip_suffix("/binary").map_or((name, false), |name| (name, true));
            if is_name(name) {
                return Ok(Target::Raw { session: name.to_owned(), binary });
            }
            Err((StatusCode::NOT_FOUND, "not found"))
        }
    }
}

/// Any Origin is refused unless it is allowed by name: a web page must not ride on a browser's reach.
pub(crate) fn check_origin(headers: &HeaderMap, allowed: &[String]) -> Result<(), Refused> {
    let forbidden = Err((StatusCode::FORBIDDEN, "origin not allowed"));
    match count(headers, &header::ORIGIN) {
        0 => Ok(()),
        1 => {
            let origin =
                headers.get(header::ORIGIN).and_then(|value| value.to_str().ok()).unwrap_or_default();
            if allowed.iter().any(|other| other.eq_ignore_ascii_case(origin)) { Ok(()) } else { forbidden }
        }
        _ => forbidden,
    }
}

/// The grant of the request's token. Missing and wrong are the same 401.
pub(crate) fn authenticate<'a>(headers: &HeaderMap, grants: &'a [Grant]) -> Result<&'a Grant, Refused> {
    let offered = subprotocol_tokens(headers);
    if count(headers, &header::AUTHORIZATION) + offered.len() > 1 {
        return Err((StatusCode::BAD_REQUEST, "one Authorization header"));
    }
    let unauthorized = (StatusCode::UNAUTHORIZED, "unauthorized");
    if let [offered] = offered.as_slice() {
        // Only for a page, which can send no header of its own; its origin has been checked before.
        let token = URL_SAFE_NO_PAD.decode(offered).ok().filter(|_| headers.contains_key(header::ORIGIN));
        return token.and_then(|token| token::check(grants, &token)).ok_or(unauthorized);
    }
    let value = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
    let token = match value.split_at_checked(7) {
        // The scheme's name is case-insensitive: RFC 9110, section 11.1.
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => token,
        _ => return Err(unauthorized),
    };
    token::check(grants, token).ok_or(unauthorized)
}

/// The tokens that stand in Sec-WebSocket-Protocol, base64url: the one header that a web page may fill.
fn subprotocol_tokens(headers: &HeaderMap) -> Vec<String> {
    let words =
        headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    words
        .flat_map(|value| value.split(','))
        .filter_map(|word| word.trim().strip_prefix(TOKEN_SUBPROTOCOL).map(str::to_owned))
        .collect()
}

/// Whether the client offers the subprotocol by which a browser is answered.
pub(crate) fn offers_subprotocol(headers: &HeaderMap) -> bool {
    has_token(headers, &header::SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL)
}

/// Checks the WebSocket handshake (RFC 6455, section 4.2.1) and returns the accept value.
pub(crate) fn upgrade(headers: &HeaderMap) -> Result<String, Refused> {
    let upgrade = (StatusCode::UPGRADE_REQUIRED, "WebSocket only");
    if !has_token(headers, &header::UPGRADE, "websocket")
        || !has_token(headers, &header::CONNECTION, "upgrade")
    {
        return Err(upgrade);
    }
    let versions: Vec<_> = headers.get_all(header::SEC_WEBSOCKET_VERSION).iter().collect();
    match versions.as_slice() {
        [version] if version.as_bytes() == b"13" => {}
        [] => return Err((StatusCode::BAD_REQUEST, "Sec-WebSocket-Version")),
        _ => return Err(upgrade),
    }
    let keys: Vec<_> = headers.get_all(header::SEC_WEBSOCKET_KEY).iter().collect();
    match keys.as_slice() {
        [key] if STANDARD.decode(key.as_bytes()).is_ok_and(|bytes| bytes.len() == 16) => {
            Ok(tokio_tungstenite::tungstenite::handshake::derive_accept_key(key.as_bytes()))
        }
        _ => Err((StatusCode::BAD_REQUEST, "Sec-WebSocket-Key")),
    }
}

fn count(headers: &HeaderMap, name: &HeaderName) -> usize {
    headers.get_all(name).iter().count()
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|word| word.trim().eq_ignore_ascii_case(token))
}

/// A response with a short text; no server name, no version.
pub(crate) fn response(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Full::new(text.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    match status {
        StatusCode::UNAUTHORIZED => {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        StatusCode::UPGRADE_REQUIRED => {
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        }
        StatusCode::METHOD_NOT_ALLOWED => {
            headers.insert(header::ALLOW, HeaderValue::from_static("GET"));
        }
        _ => {}
    }
    response
}

/// The response that switches protocols; a browser closes a connection of whose offers none is taken.
pub(crate) fn switching(accept: &str, subprotocol: bool) -> Response<Body> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    if let Ok(accept) = HeaderValue::from_str(accept) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    if subprotocol {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::{Scope, Secret};

    fn request(path: &str, headers: &[(&str, &str)]) -> Request<()> {
        let mut builder = Request::builder().uri(path).header("host", "h");
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        builder.body(()).unwrap()
    }

    #[test]
    fn paths_are_few_and_exact() {
        assert_eq!(target(&request("/", &[])), Ok(Target::Control));
        assert_eq!(
            target(&request("/raw/coder", &[])),
            Ok(Target::Raw { session: "coder".into(), binary: false })
        );
        let binary = Target::Raw { session: "coder".into(), binary: true };
        assert_eq!(target(&request("/raw/coder/binary", &[])), Ok(binary));
        for path in ["/../../etc/passwd", "/%2e%2e/etc", "//", "/raw/../x", "/raw/", "/raw/a/b", "/health"] {
            assert_eq!(target(&request(path, &[])).unwrap_err().0, StatusCode::NOT_FOUND, "{path}");
        }
        for (path, headers) in [
            ("/?token=x", &[][..]),
            ("http://h/", &[]),
            ("/", &[("host", "other")]),
            ("/", &[("content-length", "4")]),
            ("/", &[("transfer-encoding", "chunked")]),
        ] {
            assert_eq!(target(&request(path, headers)).unwrap_err().0, StatusCode::BAD_REQUEST, "{path}");
        }
    }

    #[test]
    fn missing_and_wrong_tokens_look_the_same() {
        let token = Secret::generate().unwrap();
        let grant = Grant {
            name: "a".into(),
            hash: token.hash(),
            scope: Scope::Start,
            sessions: None,
            expires: None,
        };
        let grants = [grant];
        let check = |value: Option<&str>| {
            let headers: Vec<_> = value.map(|value| ("authorization", value)).into_iter().collect();
            authenticate(request("/", &headers).headers(), &grants).map(|grant| grant.name.clone())
        };
        let right = format!("bEaReR {}", token.expose());
        assert_eq!(check(Some(&right)).unwrap(), "a");
        let unauthorized = check(None).unwrap_err();
        for wrong in
            ["Bearer ", "Bearer x", "Basic eDp5", "Bearer", &right.to_uppercase(), &format!("{right} ")]
        {
            assert_eq!(check(Some(wrong)), Err(unauthorized), "{wrong}");
        }
        let twice = request("/", &[("authorization", &right), ("authorization", &right)]);
        assert_eq!(authenticate(twice.headers(), &grants).err().unwrap().0, StatusCode::BAD_REQUEST);
    }

    #[test]
    fn the_handshake_is_checked() {
        let good = [
            ("upgrade", "WebSocket"),
            ("connection", "keep-alive, Upgrade"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ];
        assert_eq!(upgrade(request("/", &good).headers()).unwrap(), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        for (n, (name, value)) in [
            (0, ("upgrade", "h2c")),
            (1, ("connection", "close")),
            (2, ("sec-websocket-version", "12")),
            (3, ("sec-websocket-key", "c2hvcnQ=")),
        ] {
            let mut bad = good;
            bad[n] = (name, value);
            assert!(upgrade(request("/", &bad).headers()).is_err(), "{name}");
            bad[n] = ("x", "y");
            assert!(upgrade(request("/", &bad).headers()).is_err(), "no {name}");
        }
    }

    #[test]
    fn origins_need_a_name() {
        let allowed = ["https://ui.example".to_owned()];
        let check = |headers: &[(&str, &str)]| check_origin(request("/", headers).headers(), &allowed);
        assert!(check(&[]).is_ok());
        assert!(check(&[("origin", "https://ui.example")]).is_ok());
        assert!(check(&[("origin", "https://evil.example")]).is_err());
        assert!(check(&[("origin", "null")]).is_err());
        assert!(check(&[("origin", "https://ui.example"), ("origin", "https://ui.example")]).is_err());
    }
}
