//! `token new` and `token hash`.

use agor_common::Exit;
use agor_common::output::Out;
use serde_json::json;
use zeroize::Zeroizing;

use crate::cli::TokenSub;
use crate::error::Error;
use crate::files::Draft;
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
            let text = Zeroizing::new(format!("{}\n", token.expose()));
            Draft::new(&path, &text, 0o600)?.put(false)?;
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
