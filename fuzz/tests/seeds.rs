//! Every seed through its target, and every target has seeds: what `fuzz/run` starts from.

use std::path::{Path, PathBuf};

/// The targets by name.
const TARGETS: &[(&str, fn(&[u8]))] = &[
    ("config", agor_fuzz::config),
    ("ids", agor_fuzz::ids),
    ("ndjson_batch", agor_fuzz::ndjson_batch),
    ("relay_lines", agor_fuzz::relay_lines),
    ("relay_message", agor_fuzz::relay_message),
    ("sandbox_args", agor_fuzz::sandbox_args),
    ("supervised", agor_fuzz::supervised),
    ("traceparent", agor_fuzz::traceparent),
];

fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir)
        .unwrap_or_else(|error| panic!("{}: {error}", dir.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files
}

#[test]
fn every_target_is_here_and_has_seeds() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let names: Vec<String> = files(&top.join("fuzz_targets"))
        .iter()
        .map(|file| file.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(names, TARGETS.iter().map(|(name, _)| *name).collect::<Vec<_>>());
}

#[test]
fn seeds_and_all_that_is_a_byte_away_from_them_pass() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (name, target) in TARGETS {
        let seeds = files(&top.join("seeds").join(name));
        assert!(!seeds.is_empty(), "{name} has no seeds");
        for seed in seeds {
            let bytes = std::fs::read(&seed).unwrap();
            target(&bytes);
            for at in 0..bytes.len() {
                target(&bytes[..at]);
                for change in [0, b'"', b'\n', 0xff, bytes[at] ^ 1] {
                    let mut changed = bytes.clone();
                    changed[at] = change;
                    target(&changed);
                }
            }
        }
    }
}
