//! The two programs as processes: files, flags and exit codes that others script against.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A folder of its own, removed at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("metagraph-examples-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        let lines: String = (0..60).map(|i| format!("{i} green bottles hanging on the wall — ten × {}.\n", i * 7 % 13)).collect();
        std::fs::write(path.join("text.txt"), lines).unwrap();
        Folder(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_string()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs an example that `cargo test` has built beside this test.
fn run(program: &str, arguments: &[&str]) -> Output {
    let here = std::env::current_exe().unwrap();
    let path = here.parent().and_then(Path::parent).unwrap().join("examples").join(program);
    Command::new(&path).args(arguments).output().unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Runs an example that must end well, and returns what it prints.
fn good(program: &str, arguments: &[&str]) -> String {
    let output = run(program, arguments);
    assert_eq!(output.status.code(), Some(0), "{program} {arguments:?}\n{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Runs an example that must end with this code, and returns what it says.
fn bad(program: &str, arguments: &[&str], code: i32) -> String {
    let output = run(program, arguments);
    assert_eq!(output.status.code(), Some(code), "{program} {arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn train(folder: &Folder, dir: &str, more: &[&str]) -> String {
    let (text, dir) = (folder.path("text.txt"), folder.path(dir));
    let sizes = ["--text", &text, "--dir", &dir, "--seq", "12", "--sample-every", "3", "--length", "20"];
    good("train", &[&sizes, more].concat())
}

fn losses(folder: &Folder, dir: &str) -> Vec<String> {
    let text = std::fs::read_to_string(folder.0.join(dir).join("losses.csv")).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("step,loss"));
    let split = |(step, line): (usize, &str)| {
        let (at, loss) = line.split_once(',').unwrap();
        assert_eq!(at, step.to_string());
        loss.to_string()
    };
    lines.enumerate().map(split).collect()
}

#[test]
fn trains_and_samples() {
    let folder = Folder::new("trains");
    let printed = train(&folder, "model", &["--hidden", "10", "--steps", "7"]);
    assert!(printed.contains("step 3: loss") && printed.contains("step 7: loss"), "{printed}");
    let files = ["checkpoint", "model.index", "model.data-00000-of-00001", "model.meta", "characters.json", "loss.svg"];
    for file in files {
        assert!(folder.0.join("model").join(file).exists(), "{file} is missing");
    }
    assert_eq!(losses(&folder, "model").len(), 7);
    let state = std::fs::read_to_string(folder.0.join("model/checkpoint")).unwrap();
    assert!(state.contains("model_checkpoint_path: \"model\"") || state.contains("/model\""), "{state}");

    let dir = folder.path("model");
    let arguments = ["--dir", &dir, "--length", "50", "--seed", "3", "--prime", "5 green × "];
    let text = good("sample", &arguments);
    assert_eq!(text, good("sample", &arguments));
    assert!(text.starts_with("5 green × "), "{text}");
    assert_eq!(text.chars().count(), 10 + 50 + 1);
    let likeliest = ["--dir", &dir, "--length", "10", "--temperature", "0"];
    assert_eq!(good("sample", &likeliest), good("sample", &likeliest));
}

#[test]
fn resumed_training_goes_on_as_if_it_had_not_stopped() {
    let folder = Folder::new("resumes");
    train(&folder, "whole", &["--hidden", "10", "--steps", "9"]);
    train(&folder, "parts", &["--hidden", "10", "--steps", "5"]);
    train(&folder, "parts", &["--steps", "4", "--resume"]);
    assert_eq!(losses(&folder, "parts"), losses(&folder, "whole"));
}

#[test]
fn exit_codes() {
    let folder = Folder::new("codes");
    let (nowhere, text) = (folder.path("nowhere"), folder.path("text.txt"));
    for program in ["train", "sample"] {
        bad(program, &["--unknown"], 2);
        assert!(good(program, &["--help"]).contains("--dir"));
    }
    bad("train", &["--steps", "-1"], 2);
    bad("sample", &["--temperature=-1"], 2);
    assert!(bad("sample", &["--dir", &nowhere], 1).contains("nowhere"));
    assert!(bad("train", &["--dir", &nowhere, "--text", &text, "--resume"], 1).contains("model.meta"));
    assert!(bad("train", &["--dir", &nowhere, "--text", &text, "--seq", "100000"], 1).contains("too few"));
    assert!(bad("train", &["--dir", &nowhere, "--text", &nowhere], 1).contains("nowhere"));
    train(&folder, "model", &["--hidden", "4", "--steps", "0"]);
    let dir = folder.path("model");
    assert!(losses(&folder, "model").is_empty());
    assert!(bad("sample", &["--dir", &dir, "--prime", "ß"], 1).contains("ß"));
    assert!(bad("train", &["--dir", &dir, "--text", &text, "--resume", "--hidden", "5"], 1).contains("--hidden 5"));
    std::fs::remove_file(folder.0.join("model/model.index")).unwrap();
    assert!(bad("sample", &["--dir", &dir], 1).contains("model"));
}
