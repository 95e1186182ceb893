//! SIGHUP: tokens, origins, and certificate and key as a pair. What is bad keeps what was there.

use std::rc::Rc;
use std::time::Duration;

use agor_common::output;
use tokio_rustls::TlsAcceptor;

use super::{Relay, Tls};
use crate::TOOL;
use crate::cli::Serve;
use crate::config::{Config, TlsFiles};
use crate::error::Error;
use crate::tls;

/// A pair that does not match may be one whose second half is about to come: it is looked at again so many seconds after
/// each look. The next SIGHUP ends that.
const LOOKS: [u64; 5] = [1, 2, 4, 8, 16];

pub(super) fn load_tls(files: &TlsFiles) -> Result<Tls, Error> {
    let loaded = tls::server::load(files)?;
    Ok(Tls { acceptor: TlsAcceptor::from(loaded.config), expires: loaded.expires })
}

impl Relay {
    fn failed(&self, what: &str, error: &Error) {
        self.metrics.reload_failures.add(1);
        let why = agor_common::error::one_line(error);
        output::warning(TOOL, &format!("reload: {what} kept as it was: {why}"));
    }

    /// Reads everything again that may change while running.
    pub(super) fn reload(self: &Rc<Self>, serve: &Serve) {
        if let Some(looking) = self.looking.take() {
            looking.abort();
        }
        let loaded = Config::load(serve, &self.grants.borrow());
        let config = match loaded {
            Ok(config) => config,
            Err(error) => return self.failed("everything", &error),
        };
        *self.grants.borrow_mut() = config.grants;
        *self.origins.borrow_mut() = config.allow_origin;
        self.allow_exec.set(config.allow_exec);
        self.cut_revoked();
        for (name, spec) in config.sessions {
            let known = self.sessions.borrow().get(&name).cloned();
            match known {
                Some(session) => *session.spec.borrow_mut() = spec,
                None => {
                    if let Err(refusal) = self.add_session(&name, spec) {
                        output::warning(TOOL, &format!("reload: {}", refusal.1));
                    }
                }
            }
        }
        let Some(files) = config.tls.filter(|_| self.tls.borrow().is_some()) else {
            self.metrics.reloads.add(1);
            return output::notice(TOOL, "reloaded");
        };
        match load_tls(&files) {
            Ok(tls) => self.adopt(tls),
            Err(error) => {
                self.failed("the certificate", &error);
                let relay = self.clone();
                let looks = tokio::task::spawn_local(async move {
                    for pause in LOOKS {
                        tokio::time::sleep(Duration::from_secs(pause)).await;
                        if let Ok(tls) = load_tls(&files) {
                            return relay.adopt(tls);
                        }
                    }
                });
                self.looking.replace(Some(looks.abort_handle()));
            }
        }
    }

    fn adopt(&self, tls: Tls) {
        *self.tls.borrow_mut() = Some(tls);
        self.metrics.reloads.add(1);
        output::notice(TOOL, "reloaded");
    }
}
