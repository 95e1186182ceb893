//! `token new` and `token hash`.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;

use agor_common::Exit;
use agor_common::output::Out;
use serde_json::json;

use crate::cli::TokenSub;
use crate::error::Error;
use crate::token::Secret;

pub(super) fn run(command: TokenSub) -> Result<Exit, Error> {
    let mut out = Out::stdout();
    match command {
        TokenSub::New { out: None, json } => {
            let token = Secret::generate()?;
            if json {
                let hash = token.hash().to_string();
                out.object(&json!({ "token": token.expose(), "hash": hash }))?;
            } else {
                out.line(token.expose())?;
            }
        }
        TokenSub::New { out: Some(path), json } => {
            let token = Secret::generate()?;
            let fail = |source| Error::Write { path: path.clone(), source };
            let mut file = std::fs::File::options()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&path)
                .map_err(fail)?;
            file.write_all(format!("{}\n", token.expose()).as_bytes())
                .and_then(|()| file.sync_all())
                .map_err(fail)?;
            if json {
                let hash = token.hash().to_string();
                out.object(&json!({ "file": path.display().to_string(), "hash": hash }))?;
            } else {
                out.line(token.hash().to_string())?;
            }
        }
        TokenSub::Hash { file, json } => {
            let hash = Secret::from_file(&file)?.hash().to_string();
            if json {
                out.object(&json!({ "hash": hash }))?;
            } else {
                out.line(hash)?;
            }
        }
    }
    out.flush()?;
    Ok(Exit::OK)
}
