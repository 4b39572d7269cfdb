//! The two programs as processes: files, flags and exit codes that others script against.

#[path = "common/folder.rs"]
mod folder;

use folder::Folder;
use std::path::Path;
use std::process::{Command, Output};

impl Folder {
    /// A folder with a text to learn.
    fn with_text(name: &str) -> Folder {
        let folder = Folder::new(name);
        let lines: String = (0..60).map(|i| format!("{i} green bottles hanging on the wall — ten × {}.\n", i * 7 % 13)).collect();
        std::fs::write(folder.0.join("text.txt"), lines).unwrap();
        folder
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_string()
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
    let folder = Folder::with_text("trains");
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
    let folder = Folder::with_text("resumes");
    train(&folder, "whole", &["--hidden", "10", "--steps", "9"]);
    train(&folder, "parts", &["--hidden", "10", "--steps", "5"]);
    train(&folder, "parts", &["--steps", "4", "--resume"]);
    assert_eq!(losses(&folder, "parts"), losses(&folder, "whole"));
}

/// What the model writes when it always takes the likeliest character, and the probabilities of all steps.
#[cfg(feature = "cli")]
fn likeliest(session: &metagraph::Session, vocabulary: usize, hidden: usize) -> (Vec<usize>, Vec<u32>) {
    use metagraph::Tensor;
    let mut state = Tensor::new(&[2, 1, hidden], vec![0f32; 2 * hidden]).unwrap();
    let (mut column, mut written, mut bits) = (0, Vec::new(), Vec::new());
    for _ in 0..40 {
        let one_hot = (0..vocabulary).map(|c| if c == column { 1f32 } else { 0.0 }).collect();
        let x = Tensor::new(&[1, 1, vocabulary], one_hot).unwrap();
        let names = ["probabilities:0", "rnn/while/Exit_3:0", "rnn/while/Exit_4:0"];
        let results = session.run_named(&names, &[("x:0", &x), ("init_state:0", &state)]).unwrap();
        let row = results[0].as_slice::<f32>().unwrap();
        column = (0..vocabulary).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap();
        written.push(column);
        bits.extend(row.iter().map(|p| p.to_bits()));
        let parts = [results[1].as_slice::<f32>().unwrap(), results[2].as_slice::<f32>().unwrap()].concat();
        state = Tensor::new(&[2, 1, hidden], parts).unwrap();
    }
    (written, bits)
}

#[cfg(feature = "cli")]
#[test]
fn a_frozen_graph_and_a_saved_model_write_what_the_checkpoint_writes() {
    use metagraph::proto::GraphDef;
    use metagraph::saved_model::{SavedModelBundle, simple_save, tag};
    use metagraph::{Graph, Session, train};
    use prost::Message;
    let folder = Folder::with_text("forms");
    train(&folder, "model", &["--hidden", "12", "--steps", "30"]);
    let (dir, frozen) = (folder.0.join("model"), folder.path("frozen.pb"));
    let graph = Graph::new();
    let saver = train::import_meta_graph(&graph, dir.join("model.meta")).unwrap();
    let session = Session::new(&graph);
    saver.restore(&session, dir.join("model")).unwrap();
    let tensor = |name: &str| graph.get_tensor_by_name(name).unwrap();
    let vocabulary = graph.shape(tensor("x:0")).unwrap().dim(-1).unwrap();
    let expected = likeliest(&session, vocabulary, 12);

    let arguments = ["freeze", "--meta", "model.meta", "--checkpoint", ".", "--out", &frozen, "--fetch"];
    let fetches = ["probabilities", "rnn/while/Exit_3", "rnn/while/Exit_4:0"];
    let metagraph = env!("CARGO_BIN_EXE_metagraph");
    let output = Command::new(metagraph).args(arguments).args(fetches).current_dir(&dir).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let constant = Graph::new();
    let def = GraphDef::decode(&std::fs::read(&frozen).unwrap()[..]).unwrap();
    constant.import_graph_def(def, &Default::default()).unwrap();
    assert_eq!(likeliest(&Session::new(&constant), vocabulary, 12), expected);

    let export = folder.0.join("export");
    let inputs = [("x", tensor("x:0")), ("state", tensor("init_state:0"))];
    simple_save(&session, &export, &inputs, &[("probabilities", tensor("probabilities:0"))]).unwrap();
    let bundle = SavedModelBundle::load(&export, &[tag::SERVING]).unwrap();
    assert_eq!(likeliest(bundle.session(), vocabulary, 12), expected);
}

#[test]
fn tensorboard_gets_losses_and_distributions() {
    use metagraph::proto::{event::What, summary::value::Value};
    let folder = Folder::with_text("logs");
    let logs = folder.path("logs");
    train(&folder, "model", &["--hidden", "4", "--steps", "11", "--logdir", &logs]);
    train(&folder, "model", &["--steps", "10", "--resume", "--logdir", &folder.path("later")]);
    let events = |dir: &str| {
        let file = std::fs::read_dir(folder.0.join(dir)).unwrap().next().unwrap().unwrap().path();
        metagraph::summary::summary_iterator(file).unwrap().map(Result::unwrap).collect::<Vec<_>>()
    };
    let scalars = |dir: &str| {
        let mut found = Vec::new();
        for event in events(dir) {
            let Some(What::Summary(summary)) = event.what else { continue };
            let histograms = summary.value.iter().filter(|v| matches!(v.value, Some(Value::Histo(_)))).count();
            assert_eq!(histograms, 4, "the cell's kernel and bias, out_w, out_b");
            for value in summary.value {
                if let Some(Value::SimpleValue(loss)) = value.value {
                    found.push((event.step, value.tag, loss.to_string()));
                }
            }
        }
        found
    };
    let losses = losses(&folder, "model");
    let row = |step: usize| (step as i64, "summaries/loss".to_string(), losses[step].clone());
    assert_eq!(scalars("logs"), [row(0), row(10)]);
    assert_eq!(scalars("later"), [row(20)]);
    let graphs = events("logs").iter().filter(|e| matches!(e.what, Some(What::GraphDef(_)))).count();
    assert_eq!(graphs, 1);
}

#[test]
fn exit_codes() {
    let folder = Folder::with_text("codes");
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
