pub fn config(data:&[u8]){ let _=std::str::from_utf8(data).map(|t|agor_common::config::parse::<toml::Table>(t,"btmsg",std::path::Path::new("f.toml")));}
pub fn traceparent(data:&[u8]){ let _=std::str::from_utf8(data).map(agor_common::trace_context::TraceParent::parse);}
