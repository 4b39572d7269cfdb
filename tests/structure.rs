//! House rules that a test can check: the one direction of the modules, file sizes, documentation.

use std::fs;
use std::path::{Path, PathBuf};

/// The modules, each of which uses only those before it.
const ORDER: &[&str] = &[
    "error",
    "proto",
    "compute",
    "random",
    "tensor",
    "numpy",
    "bundle",
    "safetensors",
    "graph",
    "ops",
    "exec",
    "session",
    "control_flow",
    "grad",
    "train",
    "nn",
    "layers",
    "losses",
    "summary",
    "saved_model",
    "cli",
];

fn sources(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, files);
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
}

fn all_sources() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    files.iter().map(|f| (f.strip_prefix(&root).unwrap().to_path_buf(), fs::read_to_string(f).unwrap())).collect()
}

fn module_of(path: &Path) -> String {
    let first = path.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
    first.trim_end_matches(".rs").to_string()
}

#[test]
fn modules_use_only_modules_before_them() {
    let mut wrong = Vec::new();
    for (path, text) in all_sources() {
        let module = module_of(&path);
        let Some(own) = ORDER.iter().position(|m| *m == module) else {
            assert!(["lib", "main"].contains(&module.as_str()), "{} is in no module of the order", path.display());
            continue;
        };
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for (at, _) in code.match_indices("crate::") {
            let used: String = code[at + 7..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if let Some(position) = ORDER.iter().position(|m| *m == used)
                && position > own
            {
                wrong.push(format!("{} ({module}) uses {used}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "backward imports:\n{}", wrong.join("\n"));
}

#[test]
fn files_stay_readable() {
    let long: Vec<String> = all_sources()
        .iter()
        .filter(|(_, text)| text.lines().count() > 1000)
        .map(|(path, text)| format!("{}: {} lines", path.display(), text.lines().count()))
        .collect();
    assert!(long.is_empty(), "split these by topic:\n{}", long.join("\n"));
}
