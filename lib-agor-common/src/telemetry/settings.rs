//! What the environment says about exporting, checked.
//!
//! `AGOR_OTLP_ENDPOINT` switches on; the `OTEL_*` variables refine. Sources: OpenTelemetry's "Environment
//! Variable Specification" and "OTLP Exporter Configuration". Values are never printed: they may be secret.

use std::time::Duration;

use super::Kind;

/// `AGOR_OTLP_ENDPOINT`: the base URL of an OTLP/HTTP collector.
pub const ENDPOINT: &str = "AGOR_OTLP_ENDPOINT";

/// `AGOR_OTLP_FLUSH_MS`: how long the end of a run waits for the collector.
pub const FLUSH: &str = "AGOR_OTLP_FLUSH_MS";

const PREFERENCE: &str = "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE";

/// The three kinds of data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    Traces,
    Logs,
    Metrics,
}

impl Signal {
    pub(super) const ALL: [Signal; 3] = [Signal::Traces, Signal::Logs, Signal::Metrics];

    fn word(self) -> &'static str {
        match self {
            Signal::Traces => "TRACES",
            Signal::Logs => "LOGS",
            Signal::Metrics => "METRICS",
        }
    }

    fn path(self) -> &'static str {
        match self {
            Signal::Traces => "/v1/traces",
            Signal::Logs => "/v1/logs",
            Signal::Metrics => "/v1/metrics",
        }
    }
}

/// How requests are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Protobuf,
    Json,
}

impl Protocol {
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Protocol::Protobuf => "application/x-protobuf",
            Protocol::Json => "application/json",
        }
    }
}

/// Where and how one signal is sent.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) url: String,
    pub(super) protocol: Protocol,
    pub(super) headers: Vec<(String, String)>,
    pub(super) timeout: Duration,
}

/// Everything that exporting needs to know.
#[derive(Debug)]
pub(super) struct Settings {
    /// For messages: the base URL, which cannot hold credentials.
    pub(super) base: String,
    /// In the order of [`Signal::ALL`]; `None` where the signal is switched off.
    pub(super) targets: [Option<Target>; 3],
    /// Resource attributes, sorted by nothing in particular, each key once.
    pub(super) resource: Vec<(String, String)>,
    /// Metrics as differences since the last export, not since the start.
    pub(super) delta: bool,
    /// Between two exports of traces and logs.
    pub(super) interval: Duration,
    /// Between two exports of metrics.
    pub(super) metric_interval: Duration,
    /// How long the end of a run waits.
    pub(super) patience: Duration,
    /// Longest attribute value, in bytes.
    pub(super) value_limit: usize,
    /// Most attributes on one item.
    pub(super) attribute_limit: usize,
    /// What was wrong but could be left out, for one warning.
    pub(super) complaints: Vec<String>,
}

type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// [`read`] from this process's environment. What is not UTF-8 is not dropped in silence: it reads as a faulty value.
pub(super) fn from_env(tool: &str, kind: Kind) -> Result<Option<Settings>, String> {
    read(tool, kind, &super::variable)
}

/// `None`: off. `Err`: the endpoint is faulty; one line about it, and off.
fn read(tool: &str, kind: Kind, var: Lookup<'_>) -> Result<Option<Settings>, String> {
    let Some(endpoint) = set(var, ENDPOINT) else { return Ok(None) };
    if set(var, "OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Ok(None);
    }
    let base = base_url(&endpoint)?;
    let mut complaints = Vec::new();
    let targets = Signal::ALL.map(|signal| target(signal, &base, var, &mut complaints));
    if targets.iter().all(Option::is_none) {
        return Ok(None);
    }
    let mut milliseconds = |name: &str, default: u64| {
        Duration::from_millis(number(var, name, &mut complaints).filter(|ms| *ms > 0).unwrap_or(default))
    };
    let interval = milliseconds("OTEL_BSP_SCHEDULE_DELAY", 5_000);
    let metric_interval = milliseconds("OTEL_METRIC_EXPORT_INTERVAL", 15_000);
    let mut limit = |name: &str, default: usize| {
        let given = number(var, name, &mut complaints);
        given.and_then(|n| usize::try_from(n).ok()).map_or(default, |n| n.min(default))
    };
    let value_limit = limit("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", 4096);
    let attribute_limit = limit("OTEL_ATTRIBUTE_COUNT_LIMIT", 128);
    let preference = set(var, PREFERENCE).map(|value| value.to_ascii_lowercase());
    Ok(Some(Settings {
        resource: resource(tool, var, &mut complaints),
        delta: match preference.as_deref() {
            Some("delta" | "lowmemory") => true,
            Some("cumulative") => false,
            other => {
                if other.is_some() {
                    complain(&mut complaints, &format!("{PREFERENCE}: neither delta nor cumulative"));
                }
                // A command that runs once has no earlier value to add to.
                kind != Kind::LongRunning
            }
        },
        interval,
        metric_interval,
        patience: patience(var, &mut complaints),
        value_limit,
        attribute_limit,
        base,
        targets,
        complaints,
    }))
}

/// The value of a variable that is set and not empty.
fn set(var: Lookup<'_>, name: &str) -> Option<String> {
    var(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}

fn patience(var: Lookup<'_>, complaints: &mut Vec<String>) -> Duration {
    let Some(text) = set(var, FLUSH) else { return super::PATIENCE };
    match text.parse() {
        Ok(ms @ 0..=60_000) => Duration::from_millis(ms),
        _ => {
            complaints.push(format!("{FLUSH}: not a number of milliseconds from 0 to 60000"));
            super::PATIENCE
        }
    }
}

/// What is no number is said and left out, as the specification asks.
fn number(var: Lookup<'_>, name: &str, complaints: &mut Vec<String>) -> Option<u64> {
    let number = set(var, name)?.parse().ok();
    if number.is_none() {
        complain(complaints, &format!("{name}: not a whole number"));
    }
    number
}

/// Says `what` and that it was left out, once.
fn complain(complaints: &mut Vec<String>, what: &str) {
    let complaint = format!("{what}, and was left out");
    if !complaints.contains(&complaint) {
        complaints.push(complaint);
    }
}

fn target(signal: Signal, base: &str, var: Lookup<'_>, complaints: &mut Vec<String>) -> Option<Target> {
    let word = signal.word();
    if set(var, &format!("OTEL_{word}_EXPORTER")).is_some_and(|value| value.eq_ignore_ascii_case("none")) {
        return None;
    }
    let own = |what: &str| {
        set(var, &format!("OTEL_EXPORTER_OTLP_{word}_{what}"))
            .or_else(|| set(var, &format!("OTEL_EXPORTER_OTLP_{what}")))
    };
    let mut headers: Vec<(String, String)> = Vec::new();
    for (name, value) in pairs(&own("HEADERS").unwrap_or_default()) {
        match (name, value) {
            (Some(name), Some(value)) if is_header(&name, &value) => {
                headers.retain(|(other, _)| !other.eq_ignore_ascii_case(&name));
                headers.push((name, value));
            }
            _ => {
                complain(complaints, "OTEL_EXPORTER_OTLP_HEADERS: an entry is not name=value");
            }
        }
    }
    let protocol = match own("PROTOCOL").map(|value| value.to_ascii_lowercase()).as_deref() {
        Some("http/json") => Protocol::Json,
        // gRPC is often set for other programs of the same shell; the endpoint is ours and speaks HTTP.
        None | Some("http/protobuf" | "grpc") => Protocol::Protobuf,
        Some(_) => {
            complain(complaints, "OTEL_EXPORTER_OTLP_PROTOCOL: neither http/protobuf nor http/json");
            Protocol::Protobuf
        }
    };
    // Zero means "no limit" in some SDKs; here the default stays, because nothing may hang for ever.
    let timeout = own("TIMEOUT").and_then(|value| {
        let number = value.parse().ok();
        if number.is_none() {
            complain(complaints, "OTEL_EXPORTER_OTLP_TIMEOUT: not a whole number");
        }
        number
    });
    let timeout = timeout.filter(|ms| *ms > 0).unwrap_or(10_000);
    Some(Target {
        url: format!("{base}{}", signal.path()),
        protocol,
        headers,
        timeout: Duration::from_millis(timeout.min(60_000)),
    })
}

fn is_header(name: &str, value: &str) -> bool {
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    !name.is_empty() && name.bytes().all(token) && value.bytes().all(|b| b == b'\t' || (b >= 32 && b != 127))
}

/// `a=1,b=2` with percent-encoded values (the W3C Baggage form that the specification prescribes).
fn pairs(text: &str) -> impl Iterator<Item = (Option<String>, Option<String>)> + '_ {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(|part| match part.split_once('=') {
        Some((name, value)) => (percent_decoded(name.trim()), percent_decoded(value.trim())),
        None => (None, None),
    })
}

pub(super) fn percent_decoded(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let high = char::from(bytes.next()?).to_digit(16)?;
        let low = char::from(bytes.next()?).to_digit(16)?;
        out.push(u8::try_from(high * 16 + low).ok()?);
    }
    String::from_utf8(out).ok()
}

/// Checks and normalises the base URL: scheme in lower case, no trailing slash, no `/v1/traces`. The
/// message never repeats the value, which may hold a password.
fn base_url(text: &str) -> Result<String, String> {
    let bad = |why: &str| Err(format!("{ENDPOINT}: {why}; nothing is exported"));
    let Some((scheme, rest)) = text.split_once("://") else {
        return bad("not a URL such as http://localhost:4318");
    };
    let scheme = scheme.to_ascii_lowercase();
    match scheme.as_str() {
        "http" => {}
        "https" if cfg!(feature = "telemetry-tls") => {}
        "https" => return bad("https needs a build with the feature telemetry-tls"),
        _ => return bad("the scheme is neither http nor https"),
    }
    if text.bytes().any(|b| b <= b' ' || b == 127 || b == b'\\' || !b.is_ascii()) {
        return bad("blanks, backslashes and characters outside ASCII do not belong in a URL");
    }
    if rest.contains(['?', '#']) {
        return bad("a query or fragment does not belong in a base URL");
    }
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if authority.contains('@') {
        return bad("credentials do not belong in the URL: use OTEL_EXPORTER_OTLP_HEADERS");
    }
    if let Err(why) = authority_ok(authority) {
        return bad(why);
    }
    let mut path = path.trim_end_matches('/');
    for signal in Signal::ALL {
        path = path.strip_suffix(signal.path()).unwrap_or(path);
    }
    let path = path.trim_end_matches('/');
    Ok(format!("{scheme}://{}{path}", authority.to_ascii_lowercase()))
}

fn authority_ok(authority: &str) -> Result<(), &'static str> {
    let (host, port) = if let Some(v6) = authority.strip_prefix('[') {
        let (host, after) = v6.split_once(']').ok_or("the IPv6 address is not closed by ]")?;
        host.parse::<std::net::Ipv6Addr>().map_err(|_| "the IPv6 address is malformed")?;
        match after.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if after.is_empty() => (host, None),
            None => return Err("the IPv6 address is followed by something else than a port"),
        }
    } else {
        match authority.rsplit_once(':') {
            Some((host, _)) if host.contains(':') => return Err("an IPv6 address needs brackets"),
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        }
    };
    if host.is_empty() {
        return Err("the host is missing");
    }
    if !host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:~".contains(&b)) {
        return Err("the host holds a character that no host name has");
    }
    match port.map(str::parse::<u16>) {
        None => Ok(()),
        Some(Ok(1..)) => Ok(()),
        _ => Err("the port is not a number from 1 to 65535"),
    }
}

/// `OTEL_SERVICE_NAME` over `OTEL_RESOURCE_ATTRIBUTES` over our own.
fn resource(tool: &str, var: Lookup<'_>, complaints: &mut Vec<String>) -> Vec<(String, String)> {
    let mut list: Vec<(String, String)> = vec![
        ("service.name".into(), tool.into()),
        ("service.namespace".into(), "agor".into()),
        ("service.version".into(), crate::VERSION.into()),
        ("service.instance.id".into(), instance_id()),
        ("process.executable.name".into(), tool.into()),
        ("host.name".into(), rustix::system::uname().nodename().to_string_lossy().into_owned()),
        ("telemetry.sdk.name".into(), "opentelemetry".into()),
        ("telemetry.sdk.language".into(), "rust".into()),
        ("telemetry.sdk.version".into(), "0.33".into()),
    ];
    if let Some(agent) = set(var, "BTMSG_AGENT_ID") {
        list.push(("agor.agent".into(), agent));
    }
    let mut put = |key: String, value: String| match list.iter_mut().find(|(other, _)| *other == key) {
        Some((_, old)) => *old = value,
        None => list.push((key, value)),
    };
    let given = set(var, "OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
    let parsed: Vec<_> = pairs(&given).collect();
    // The specification: on a malformed value the whole variable is dropped.
    if parsed.iter().all(|(key, value)| key.as_ref().is_some_and(|key| !key.is_empty()) && value.is_some()) {
        for (key, value) in parsed {
            // service.instance.id stays ours: it is unique per run, and an inherited value is not.
            if let (Some(key), Some(value)) = (key, value)
                && key != "service.instance.id"
                && key != "process.pid"
            {
                put(key, value);
            }
        }
    } else {
        complain(complaints, "OTEL_RESOURCE_ATTRIBUTES: not key=value,…");
    }
    if let Some(name) = set(var, "OTEL_SERVICE_NAME") {
        put("service.name".into(), name);
    }
    list
}

/// A random UUID (version 4), unique per run.
fn instance_id() -> String {
    use opentelemetry_sdk::trace::IdGenerator as _;
    let random = opentelemetry_sdk::trace::RandomIdGenerator::default().new_trace_id();
    let mut bytes = random.to_bytes();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(vars: &[(&str, &str)]) -> Result<Option<Settings>, String> {
        read("t", Kind::OneShot, &|name| {
            vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn on(more: &[(&str, &str)]) -> Settings {
        let mut vars = vec![(ENDPOINT, "http://localhost:4318")];
        vars.extend_from_slice(more);
        with(&vars).unwrap().unwrap()
    }

    #[test]
    fn off_unless_asked() {
        assert!(with(&[]).unwrap().is_none());
        assert!(with(&[(ENDPOINT, " ")]).unwrap().is_none());
        assert!(with(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4318")]).unwrap().is_none());
        assert!(with(&[(ENDPOINT, "http://a:1"), ("OTEL_SDK_DISABLED", "TRUE")]).unwrap().is_none());
        assert!(with(&[(ENDPOINT, "foo"), ("OTEL_SDK_DISABLED", "true")]).unwrap().is_none());
        assert!(on(&[("OTEL_SDK_DISABLED", "1")]).targets[0].is_some());
    }

    #[test]
    fn endpoints_are_normalised() {
        for (given, base) in [
            ("http://localhost:4318", "http://localhost:4318"),
            ("http://localhost:4318/", "http://localhost:4318"),
            ("HTTP://LocalHost:4318//", "http://localhost:4318"),
            ("http://h/otlp/", "http://h/otlp"),
            ("http://h:80/v1/traces", "http://h:80"),
            ("http://h:80/x/v1/metrics/", "http://h:80/x"),
            ("http://[::1]:4318", "http://[::1]:4318"),
            ("http://h", "http://h"),
        ] {
            assert_eq!(base_url(given).unwrap(), base, "{given}");
        }
    }

    #[test]
    fn faulty_endpoints_are_one_line_without_the_value() {
        for given in [
            "foo",
            "localhost:4318",
            "ftp://h",
            "http://",
            "http:///x",
            "http://h:0",
            "http://h:99999",
            "http://h:x",
            "http://::1:4318",
            "http://[::1",
            "http://[::1]x",
            "http://user:hunter2@h:1",
            "http://h/?token=hunter2",
            "http://h y",
            "http://h\\y",
            "http://hö",
        ] {
            let line = with(&[(ENDPOINT, given)]).unwrap_err();
            assert!(!line.contains("hunter2") && !line.contains('\n'), "{line}");
            assert!(line.starts_with("AGOR_OTLP_ENDPOINT: "), "{line}");
        }
    }

    #[test]
    fn headers_timeouts_and_single_signals() {
        let settings = on(&[
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20x, X-A = 1,broken,b@d=1"),
            ("OTEL_EXPORTER_OTLP_LOGS_HEADERS", "x-logs=1"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "250"),
            ("OTEL_METRICS_EXPORTER", "none"),
        ]);
        let traces = settings.targets[0].as_ref().unwrap();
        assert_eq!(traces.url, "http://localhost:4318/v1/traces");
        assert_eq!(traces.headers[0], ("authorization".into(), "Bearer x".into()));
        assert_eq!(traces.headers[1], ("X-A".into(), "1".into()));
        assert_eq!(traces.headers.len(), 2);
        assert_eq!(traces.timeout, Duration::from_millis(250));
        assert_eq!(settings.targets[1].as_ref().unwrap().headers, [("x-logs".into(), "1".into())]);
        assert!(settings.targets[2].is_none());
        assert_eq!(settings.complaints.len(), 1);
        assert!(settings.delta);
        assert_eq!(settings.patience, crate::telemetry::PATIENCE);
        assert_eq!(on(&[("AGOR_OTLP_FLUSH_MS", "2000")]).patience, Duration::from_secs(2));
        assert_eq!(on(&[("AGOR_OTLP_FLUSH_MS", "soon")]).complaints.len(), 1);
        assert!(!on(&[("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "Cumulative")]).delta);
    }

    #[test]
    fn nonsense_is_said_once_and_left_out() {
        let settings = on(&[
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
            ("OTEL_BSP_SCHEDULE_DELAY", "-1"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "1.5"),
            ("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "long"),
            ("OTEL_ATTRIBUTE_COUNT_LIMIT", " "),
            (PREFERENCE, "both"),
        ]);
        assert_eq!(settings.complaints.len(), 5, "{:?}", settings.complaints);
        assert!(settings.complaints.iter().all(|complaint| complaint.ends_with(", and was left out")));
        assert_eq!(
            (settings.interval, settings.value_limit, settings.delta),
            (Duration::from_secs(5), 4096, true)
        );
    }

    #[test]
    fn the_protocol_is_chosen_for_all_or_for_one_signal() {
        let protocols = |settings: &Settings| {
            settings.targets.clone().map(|target| target.map(|target| target.protocol)).map(Option::unwrap)
        };
        use Protocol::{Json, Protobuf};
        assert_eq!(protocols(&on(&[])), [Protobuf; 3]);
        assert_eq!(protocols(&on(&[("OTEL_EXPORTER_OTLP_PROTOCOL", "HTTP/JSON")])), [Json; 3]);
        let mixed = on(&[
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
            ("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "http/protobuf"),
        ]);
        assert_eq!(protocols(&mixed), [Json, Protobuf, Json]);
        let grpc = on(&[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]);
        assert_eq!((protocols(&grpc), grpc.complaints.len()), ([Protobuf; 3], 0));
        let unknown = on(&[("OTEL_EXPORTER_OTLP_PROTOCOL", "smoke")]);
        assert_eq!((protocols(&unknown), unknown.complaints.len()), ([Protobuf; 3], 1));
    }

    #[test]
    fn resource_attributes_are_merged() {
        let find = |settings: &Settings, key: &str| {
            settings.resource.iter().find(|(other, _)| other == key).map(|(_, value)| value.clone())
        };
        let settings = on(&[
            (
                "OTEL_RESOURCE_ATTRIBUTES",
                "service.name=a,deployment.environment=x%2Cy,service.instance.id=fix",
            ),
            ("OTEL_SERVICE_NAME", "b"),
        ]);
        assert_eq!(find(&settings, "service.name").unwrap(), "b");
        assert_eq!(find(&settings, "deployment.environment").unwrap(), "x,y");
        assert_ne!(find(&settings, "service.instance.id").unwrap(), "fix");
        let broken = on(&[("OTEL_RESOURCE_ATTRIBUTES", "a=%zz,b=1")]);
        assert_eq!(find(&broken, "b"), None);
        assert_eq!(broken.complaints.len(), 1);
        assert_ne!(instance_id(), instance_id());
    }
}
