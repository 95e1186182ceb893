//! `docker/tempo`: what can be proven about the stack without a container engine.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use yaml_rust2::{Yaml, YamlLoader};

fn stack() -> PathBuf {
    agor_tests::top().join("docker/tempo")
}

fn yaml(path: &Path) -> Yaml {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut documents =
        YamlLoader::load_from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    assert_eq!(documents.len(), 1, "{}", path.display());
    documents.remove(0)
}

fn text(value: &Yaml) -> &str {
    value.as_str().unwrap_or_else(|| panic!("not a string: {value:?}"))
}

/// The services of the compose file by name.
fn services() -> Vec<(String, Yaml)> {
    let compose = yaml(&stack().join("compose.yaml"));
    let services = compose["services"].as_hash().expect("services");
    services.iter().map(|(name, service)| (text(name).to_owned(), service.clone())).collect()
}

#[test]
fn every_yaml_file_parses() {
    let mut seen = 0;
    let mut todo = vec![stack()];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(dir).expect("a directory").flatten() {
            let path = entry.path();
            if path.is_dir() {
                todo.push(path);
            } else if path.extension().is_some_and(|ext| ext == "yaml") {
                yaml(&path);
                seen += 1;
            }
        }
    }
    assert_eq!(seen, 4);
}

#[test]
fn images_are_pinned_to_tempo_3_and_grafana_13() {
    let images: Vec<String> =
        services().iter().map(|(_, service)| text(&service["image"]).to_owned()).collect();
    for image in &images {
        let (_, tag) = image.rsplit_once(':').unwrap_or_else(|| panic!("{image} has no tag"));
        let numbers: Vec<&str> = tag.split('.').collect();
        assert_eq!(numbers.len(), 3, "{image} is not a full version");
        assert!(numbers.iter().all(|n| n.parse::<u32>().is_ok()), "{image}");
    }
    assert!(images.iter().any(|image| image.starts_with("grafana/tempo:3.")), "{images:?}");
    assert!(images.iter().any(|image| image.starts_with("grafana/grafana:13.")), "{images:?}");
}

#[test]
fn ports_are_on_loopback_and_as_promised() {
    let mut ports = BTreeSet::new();
    for (name, service) in services() {
        for port in service["ports"].as_vec().into_iter().flatten() {
            let port = text(port).to_owned();
            assert!(port.starts_with("127.0.0.1:"), "{name}: {port}");
            ports.insert(port);
        }
        assert!(service["network_mode"].is_badvalue(), "{name} must not share the host's network");
    }
    let want = ["127.0.0.1:4318:4318", "127.0.0.1:9715:3000"].map(String::from);
    assert_eq!(ports, BTreeSet::from(want));
}

#[test]
fn every_mounted_file_exists_and_every_volume_is_declared() {
    let compose = yaml(&stack().join("compose.yaml"));
    let declared = compose["volumes"].as_hash().expect("volumes");
    let mut used = BTreeSet::new();
    for (name, service) in services() {
        for volume in service["volumes"].as_vec().into_iter().flatten() {
            let mut parts = text(volume).split(':');
            let (source, target) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            assert!(target.starts_with('/'), "{name}: {volume:?}");
            if source.starts_with('.') {
                assert!(stack().join(source).exists(), "{name}: {source} does not exist");
                assert_eq!(parts.next(), Some("ro"), "{name}: {source} is not mounted read-only");
            } else {
                assert!(declared.contains_key(&Yaml::String(source.to_owned())), "{name}: {source}");
                used.insert(source.to_owned());
            }
        }
    }
    assert_eq!(used.len(), declared.len(), "a volume that nobody mounts");
    // The file that the command names is the one that is mounted there.
    let (_, tempo) = services().into_iter().find(|(name, _)| name == "tempo").expect("tempo");
    assert!(format!("{:?}", tempo["command"]).contains("-config.file=/etc/tempo.yaml"));
    assert!(format!("{:?}", tempo["volumes"]).contains(":/etc/tempo.yaml:"));
}

#[test]
fn tempo_yaml_has_no_key_that_tempo_3_refuses() {
    let config = yaml(&stack().join("tempo.yaml"));
    let top: Vec<&str> = config.as_hash().expect("a mapping").keys().map(text).collect();
    // Top-level blocks of Tempo 3 (the manifest of its documentation) that one process can use.
    let known = [
        "target",
        "http_api_prefix",
        "server",
        "internal_server",
        "distributor",
        "live_store",
        "block_builder",
        "backend_scheduler",
        "backend_worker",
        "querier",
        "query_frontend",
        "metrics_generator",
        "storage",
        "overrides",
        "memberlist",
        "usage_report",
        "cache",
        "stream_over_http_enabled",
        "multitenancy_enabled",
        "shutdown_delay",
    ];
    for key in &top {
        assert!(known.contains(key), "{key}");
    }
    for gone in ["ingester", "ingester_client", "compactor", "metrics_generator_client"] {
        assert!(!top.contains(&gone), "{gone} was removed in Tempo 3");
    }
    // Without Kafka: an `ingest` block would ask for it.
    assert!(config["ingest"].is_badvalue());
    let raw = fs::read_to_string(stack().join("tempo.yaml")).expect("tempo.yaml");
    for gone in ["local_blocks", "local-blocks", "opencensus", "traces_storage", "v2_encoding", "vParquet3"] {
        assert!(!raw.contains(gone), "{gone} was removed in Tempo 3");
    }
    // Overrides in the scoped form: the flat one is off by default in Tempo 3.
    let overrides = config["overrides"].as_hash().expect("overrides");
    assert!(overrides.keys().all(|key| text(key) == "defaults"), "{overrides:?}");
    let retention = text(&config["overrides"]["defaults"]["compaction"]["block_retention"]);
    assert!(retention.ends_with('h') && retention.trim_end_matches('h').parse::<u32>().is_ok());

    let receiver = text(&config["distributor"]["receivers"]["otlp"]["protocols"]["http"]["endpoint"]);
    assert_eq!(receiver, "0.0.0.0:4318", "compose.yaml publishes this port");
    // What Tempo writes lies on its volume.
    for path in [&config["storage"]["trace"]["local"]["path"], &config["storage"]["trace"]["wal"]["path"]] {
        assert!(text(path).starts_with("/var/tempo/"));
    }
}

fn source() -> Yaml {
    let sources = yaml(&stack().join("grafana/provisioning/datasources/tempo.yaml"));
    let list = sources["datasources"].as_vec().expect("datasources");
    assert_eq!(list.len(), 1);
    list[0].clone()
}

fn dashboard() -> Value {
    let path = stack().join("grafana/dashboards/agor.json");
    serde_json::from_str(&fs::read_to_string(path).expect("the dashboard")).expect("JSON")
}

fn panels() -> Vec<Value> {
    dashboard()["panels"].as_array().expect("panels").clone()
}

#[test]
fn provisioning_points_at_what_is_there() {
    let config = yaml(&stack().join("tempo.yaml"));
    let port = config["server"]["http_listen_port"].as_i64().expect("a port");
    assert_eq!(text(&source()["url"]), format!("http://tempo:{port}"));

    let provider = yaml(&stack().join("grafana/provisioning/dashboards/agor.yaml"));
    let path = text(&provider["providers"][0]["options"]["path"]).to_owned();
    let (_, grafana) = services().into_iter().find(|(name, _)| name == "grafana").expect("grafana");
    assert!(format!("{:?}", grafana["volumes"]).contains(&format!("./grafana/dashboards:{path}:ro")));
    let home = text(&grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]).to_owned();
    assert_eq!(home, format!("{path}/agor.json"));
    // Anonymous readers may look, not change.
    assert_eq!(text(&grafana["environment"]["GF_AUTH_ANONYMOUS_ORG_ROLE"]), "Viewer");
}

#[test]
fn the_dashboard_asks_only_the_provisioned_source() {
    let source = source();
    let uid = text(&source["uid"]);
    let mut seen = 0;
    let mut todo = vec![dashboard()];
    while let Some(value) = todo.pop() {
        if let Value::Object(map) = &value
            && let Some(source) = map.get("datasource")
        {
            assert_eq!(source["uid"], *uid, "{map:?}");
            assert_eq!(source["type"], "tempo");
            seen += 1;
        }
        match value {
            Value::Object(map) => todo.extend(map.into_iter().map(|(_, value)| value)),
            Value::Array(list) => todo.extend(list),
            _ => {}
        }
    }
    assert!(seen > 10, "{seen}");
}

#[test]
fn panels_fit_and_are_numbered() {
    let mut ids = BTreeSet::new();
    let mut cells = BTreeSet::new();
    for panel in panels() {
        assert!(ids.insert(panel["id"].as_u64().expect("an id")), "{panel}");
        let at = |key: &str| panel["gridPos"][key].as_u64().expect("a place");
        assert!(at("x") + at("w") <= 24, "{}", panel["title"]);
        for x in at("x")..at("x") + at("w") {
            for y in at("y")..at("y") + at("h") {
                assert!(cells.insert((x, y)), "{} lies on another panel", panel["title"]);
            }
        }
    }
    let titles: Vec<String> =
        panels().iter().map(|panel| panel["title"].to_string().to_lowercase()).collect();
    for topic in ["gave up", "restarts", "message flow", "dead letters", "wal", "slowest spans", "heartbeats"]
    {
        assert!(titles.iter().any(|title| title.contains(topic)), "{topic} is not in {titles:?}");
    }
}

/// All queries; `${trace}` is the one that is filled in by the reader.
fn queries() -> Vec<String> {
    let mut list = Vec::new();
    for panel in panels() {
        for target in panel["targets"].as_array().expect("targets") {
            assert_eq!(target["queryType"], "traceql", "{target}");
            list.push(target["query"].as_str().expect("a query").to_owned());
        }
    }
    list.retain(|query| query != "${trace}");
    list
}

/// Words, strings and marks of a TraceQL query.
fn tokens(query: &str) -> Vec<String> {
    let mut list = Vec::new();
    let mut rest = query.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = if first == '"' {
            rest[1..].find('"').expect("a string that ends") + 2
        } else if first.is_ascii_alphanumeric() {
            rest.find(|c: char| !(c.is_ascii_alphanumeric() || "._:-".contains(c))).unwrap_or(rest.len())
        } else if ["&&", "||", "!=", ">=", "<=", "=~"].iter().any(|mark| rest.starts_with(mark)) {
            2
        } else {
            1
        };
        list.push(rest[..length].to_owned());
        rest = rest[length..].trim_start();
    }
    list
}

const INTRINSICS: [&str; 4] = ["span:name", "span:status", "span:duration", "span:kind"];
const STAGES: [&str; 11] = [
    "rate",
    "count_over_time",
    "sum_over_time",
    "min_over_time",
    "max_over_time",
    "avg_over_time",
    "quantile_over_time",
    "topk",
    "bottomk",
    "by",
    "select",
];

#[test]
fn queries_are_well_formed_traceql() {
    for query in queries() {
        let tokens = tokens(&query);
        assert_eq!(tokens.first().map(String::as_str), Some("{"), "{query}");
        let mut open = Vec::new();
        for (n, token) in tokens.iter().enumerate() {
            match token.as_str() {
                "{" | "(" => open.push(token.as_str()),
                "}" => assert_eq!(open.pop(), Some("{"), "{query}"),
                ")" => assert_eq!(open.pop(), Some("("), "{query}"),
                "|" => assert!(STAGES.contains(&tokens[n + 1].as_str()) && open.is_empty(), "{query}"),
                "&&" | "||" | "=" | "!=" | ">" | "<" | ">=" | "<=" | "=~" => {
                    assert_eq!(open, ["{"], "{query}: {token} outside braces");
                }
                "," | "error" | "ok" | "unset" => {}
                word if word.starts_with('"') || word.parse::<f64>().is_ok() => {}
                word if STAGES.contains(&word) => assert_eq!(tokens[n + 1], "(", "{query}"),
                word => assert!(
                    INTRINSICS.contains(&word) || word.starts_with("span.") || word.starts_with("resource."),
                    "{query}: {word} has no scope"
                ),
            }
        }
        assert!(open.is_empty(), "{query}");
    }
}
/// The sources of the tools and of what they share, as one text.
fn sources() -> String {
    let mut text = String::new();
    let mut todo: Vec<PathBuf> = fs::read_dir(agor_tests::top())
        .expect("the checkout")
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            name.starts_with("bin-") || name == "lib-agor-common"
        })
        .map(|path| path.join("src"))
        .collect();
    while let Some(path) = todo.pop() {
        if path.is_dir() {
            todo.extend(fs::read_dir(path).expect("a directory").flatten().map(|entry| entry.path()));
        } else {
            text.push_str(&fs::read_to_string(path).unwrap_or_default());
        }
    }
    text
}

#[test]
fn queries_name_what_the_tools_emit() {
    let sources = sources();
    for query in queries() {
        let tokens = tokens(&query);
        for (n, token) in tokens.iter().enumerate() {
            if token == "span:name" && n + 2 < tokens.len() && tokens[n + 1] != ")" {
                assert!(sources.contains(&tokens[n + 2]), "no tool makes a span {}", tokens[n + 2]);
            }
            let attribute = token.strip_prefix("span.").or_else(|| token.strip_prefix("resource."));
            if let Some(attribute) = attribute {
                assert!(sources.contains(attribute), "no tool sets {attribute}");
            }
        }
    }
}
