//! The commands, a module for those that belong together.

pub mod agents;
pub mod audit;
pub mod channel;
pub mod contacts;
pub mod dlq;
pub mod doctor;
pub mod heartbeat;
pub mod inbox;
pub mod log;
pub mod look;
pub mod operate;
pub mod receive;
pub mod send;
pub mod watch;

use agor_common::Exit;
use agor_common::db::Access;
use agor_common::telemetry::Kind;

use crate::app::{self, App, Done};
use crate::cli::Command;

pub use channel::fan_out as members_for;
pub use look::BETWEEN;

/// Whether a command lives on.
pub fn kind(command: &Command) -> Kind {
    match command {
        Command::Watch(_) => Kind::LongRunning,
        Command::Heartbeat(args) if args.every.is_some() => Kind::LongRunning,
        Command::Health(args) if args.watch.is_some() => Kind::LongRunning,
        Command::Audit(args) if args.follow => Kind::LongRunning,
        _ => crate::ONE_SHOT,
    }
}

/// What a command is called, for telemetry.
pub fn name(command: &Command) -> &'static str {
    match command {
        Command::Register(_) => "register",
        Command::Unregister(_) => "unregister",
        Command::Agents(_) => "agents",
        Command::Whoami => "whoami",
        Command::Contacts(_) => "contacts",
        Command::Allow(_) => "allow",
        Command::Deny(_) => "deny",
        Command::Graph => "graph",
        Command::Send(_) => "send",
        Command::Reply(_) => "reply",
        Command::Inbox(_) => "inbox",
        Command::Read(_) => "read",
        Command::History(_) => "history",
        Command::Unread => "unread",
        Command::Notify => "notify",
        Command::Feed(_) => "feed",
        Command::Search(_) => "search",
        Command::Recv(_) => "recv",
        Command::Ack(_) => "ack",
        Command::Nack(_) => "nack",
        Command::Extend(_) => "extend",
        Command::Channel(_) => "channel",
        Command::Heartbeat(_) => "heartbeat",
        Command::Health(_) => "health",
        Command::Sweep(_) => "sweep",
        Command::Dlq(_) => "dlq",
        Command::Watch(_) => "watch",
        Command::Log(_) => "log",
        Command::Audit(_) => "audit",
        Command::Stats => "stats",
        Command::Export(_) => "export",
        Command::Prune(_) => "prune",
        Command::Status(_) => "status",
        Command::Doctor => "doctor",
    }
}

/// Runs a command.
pub fn run(app: &mut App, command: Command) -> Done<Exit> {
    match command {
        Command::Register(args) => agents::register(app, &args),
        Command::Unregister(args) => agents::unregister(app, &args),
        Command::Agents(args) => agents::list(app, &args),
        Command::Whoami => agents::whoami(app),
        Command::Contacts(args) => contacts::list(app, &args),
        Command::Allow(args) => contacts::allow(app, &args),
        Command::Deny(args) => contacts::deny(app, &args),
        Command::Graph => contacts::graph(app),
        Command::Send(args) => send::send(app, args),
        Command::Reply(args) => send::reply(app, args),
        Command::Inbox(args) => inbox::inbox(app, &args),
        Command::Read(args) => inbox::read(app, &args),
        Command::Unread => inbox::unread(app),
        Command::Notify => inbox::notify(app),
        Command::History(args) => look::history(app, &args),
        Command::Feed(args) => look::feed(app, &args),
        Command::Search(args) => look::search(app, &args),
        Command::Recv(args) => receive::recv(app, &args),
        Command::Ack(args) => receive::ack(app, &args),
        Command::Nack(args) => receive::nack(app, &args),
        Command::Extend(args) => receive::extend(app, &args),
        Command::Channel(args) => channel::run(app, args),
        Command::Heartbeat(args) => heartbeat::heartbeat(app, args),
        Command::Health(args) => operate::health(app, &args),
        Command::Sweep(args) => dlq::sweep(app, &args),
        Command::Dlq(args) => dlq::run(app, args),
        Command::Watch(args) => watch::watch(app, &args),
        Command::Log(args) => log::log(app, args),
        Command::Audit(args) => audit::audit(app, &args),
        Command::Stats => operate::stats(app),
        Command::Export(args) => operate::export(app, &args),
        Command::Prune(args) => operate::prune(app, &args),
        Command::Status(args) => operate::status(app, &args),
        Command::Doctor => doctor::doctor(app),
    }
}

/// Writes the audit row of something that was refused; its own transaction, since the refused one is gone.
pub fn record_denial(app: &App, agent: &str, what: &str, why: &str) {
    let options = agor_common::db::Options { access: Access::Write, ..agor_common::db::Options::create() };
    let Ok(mut db) = agor_common::mail::open(app.path(), options) else { return };
    let detail = serde_json::json!({ "what": what, "why": why });
    // Where even this cannot be written, the refusal itself still stands.
    let _ = db.write(|tx| app::audit(tx, agent, "denied", &detail));
}
