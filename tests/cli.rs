//! Drives the command `metagraph` on models that the library builds: flags, exit codes, what it prints, round trips.

#[path = "common/folder.rs"]
mod folder;

use folder::Folder;
use metagraph::proto::{GraphDef, MetaGraphDef, text};
use metagraph::train::{GetVariable, Initializer, Saver};
use metagraph::{DType, Graph, Session, Tensor, WhileOptions, numpy};
use prost::Message;
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

impl Folder {
    fn file(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_string()
    }

    /// Runs the command within the folder.
    fn run(&self, args: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_metagraph")).args(args).current_dir(&self.0).output().unwrap()
    }

    /// Runs the command, which must succeed, and returns what it printed.
    fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        assert_eq!(output.status.code(), Some(0), "{args:?}: {out}{err}");
        assert!(!out.contains('\x1b'), "colours without a terminal: {out}");
        out
    }

    fn json(&self, args: &[&str]) -> Value {
        serde_json::from_str(&self.ok(args)).unwrap()
    }

    /// Runs the command, which must fail with this code, and returns its one sentence.
    fn fails(&self, code: i32, args: &[&str]) -> String {
        let output = self.run(args);
        let err = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}{err}", String::from_utf8_lossy(&output.stdout));
        assert!(err.starts_with("error: "), "{args:?}: {err}");
        err
    }
}

/// Saves `y = x * w + b` as `model.*`; `w` is `[[1 2 3] [4 5 6]]`, `b` is ones, `step` counts.
fn model(folder: &Folder) -> Graph {
    let g = Graph::new();
    let x = g.named("x").placeholder(DType::Float, [None, Some(2)]).unwrap();
    let weights: Tensor = "f32[[1 2 3] [4 5 6]]".parse().unwrap();
    let w = g.named("w").variable(weights).unwrap();
    let ones = GetVariable { shape: Some([3].into()), initializer: Some(Initializer::ones()), ..Default::default() };
    let b = g.get_variable_with("b", ones).unwrap();
    let product = g.op("MatMul").input(x).input(w.value().unwrap()).output().unwrap();
    let step = g.named("step").variable(0i64).unwrap();
    step.assign_add(1i64).unwrap();
    g.op("AddV2").input(product).input(b.value().unwrap()).name("y").output().unwrap();
    let init = g.global_variables_initializer().unwrap();
    let saver = Saver::new(&g).unwrap();
    let session = Session::new(&g);
    session.run_targets(&[init], &[]).unwrap();
    saver.save(&session, folder.0.join("model")).unwrap();
    g
}

#[test]
fn wrong_use_is_2_and_failure_is_1() {
    let folder = Folder::new("codes");
    model(&folder);
    for args in [
        &["run"][..],
        &["nothing"],
        &["run", "--meta", "model.meta"],
        &["run", "--meta", "model.meta", "--graph", "x.pb", "--fetch", "y"],
        &["run", "--meta", "model.meta", "--fetch", "y", "--feed", "x"],
        &["run", "--meta", "model.meta", "--fetch", "y", "--repeat", "0"],
        &["run", "--meta", "model.meta", "--fetch", "y", "--signature", "s"],
        &["graph", "model.meta", "--out", "picture.jpg"],
        &["freeze", "--meta", "model.meta", "--out", "f.pb"],
        &["inspect"],
    ] {
        folder.fails(2, args);
    }
    assert!(folder.fails(1, &["inspect", "absent"]).contains("absent"));
    let uninitialized = folder.fails(1, &["run", "--meta", "model.meta", "--feed", "x=[[1,2]]", "--fetch", "y"]);
    assert!(uninitialized.contains("--checkpoint") && uninitialized.lines().count() == 1, "{uninitialized}");
    assert!(folder.fails(1, &["run", "--meta", "model.meta", "--fetch", "z:0"]).contains("'z'"));
    fs::write(folder.file("junk.pb"), b"\x00\x01\x02").unwrap();
    assert!(folder.fails(1, &["inspect", "junk.pb"]).contains("junk.pb"));
    assert!(folder.ok(&["--help"]).contains("Examples:") && folder.ok(&["run", "--help"]).contains("--repeat"));
    assert!(folder.ok(&["completions", "bash"]).contains("metagraph"));
}

#[test]
fn runs_feed_and_fetch() {
    let folder = Folder::new("run");
    model(&folder);
    let source = ["run", "--meta", "model.meta", "--checkpoint", "model"];
    let run = |more: &[&str]| folder.json(&[&source[..], more, &["--json"]].concat());
    let expected: Value = serde_json::from_str("[[10.0, 13.0, 16.0]]").unwrap();
    assert_eq!(run(&["--feed", "x=[[1,2]]", "--fetch", "y"])["fetches"]["y:0"]["values"], expected);
    assert_eq!(run(&["--feed", "x:0=f32[[1 2]]", "--fetch", "y:0"])["fetches"]["y:0"]["values"], expected);

    // Values of another dtype are converted, as TensorFlow's sessions do.
    let x: Tensor = "i64[[1 2]]".parse().unwrap();
    numpy::write_npy(fs::File::create(folder.file("x.npy")).unwrap(), &x).unwrap();
    numpy::write_npz(folder.file("x.npz"), [("x:0", &x)]).unwrap();
    assert_eq!(run(&["--feed", "x=x.npy", "--fetch", "y"])["fetches"]["y:0"]["values"], expected);
    folder.ok(&[&source[..], &["--feeds", "x.npz", "--fetch", "y:0", "b", "--out", "out.npz"]].concat());
    let out = numpy::read_npz(folder.file("out.npz")).unwrap();
    assert_eq!(out["y:0"].to_string(), "f32[[10 13 16]]");
    assert_eq!(out["b:0"].to_string(), "f32[1 1 1]");
    assert!(folder.ok(&[&source[..], &["--feeds", "x.npz", "--fetch", "y"]].concat()).contains("float32[1,3]"));
    for checkpoint in [".", "model.index", "model.data-00000-of-00001", "checkpoint"] {
        folder.ok(&["run", "--meta", "model.meta", "--checkpoint", checkpoint, "--fetch", "b"]);
    }
}

#[test]
fn training_goes_on_from_a_shell() {
    let folder = Folder::new("train");
    model(&folder);
    folder.ok(&["run", "--meta", "model.meta", "--target", "init", "--save", "first"]);
    let increment = "AssignAdd";
    folder.ok(&[
        "run",
        "--meta",
        "first.meta",
        "--checkpoint",
        "first",
        "--target",
        increment,
        "--repeat",
        "3",
        "--save",
        "next",
    ]);
    let step = folder.json(&["inspect", "next", "--tensor", "step", "--json"]);
    assert_eq!(step["values"], 3);
    // The directory's state file leads to the latest.
    assert_eq!(folder.json(&["inspect", ".", "--tensor", "step", "--json"])["values"], 3);
}

#[test]
fn a_graph_without_a_saver_restores_by_names() {
    let folder = Folder::new("names");
    let g = model(&folder);
    fs::write(folder.file("graph.pbtxt"), text::print(&g.as_graph_def())).unwrap();
    let args = ["run", "--graph", "graph.pbtxt", "--checkpoint", "model", "--feed", "x=[[0,1]]", "--fetch", "y", "--json"];
    assert_eq!(folder.json(&args)["fetches"]["y:0"]["values"].to_string(), "[[5.0,6.0,7.0]]");
}

#[test]
fn every_path_is_found_out() {
    let folder = Folder::new("paths");
    let g = model(&folder);
    fs::write(folder.file("graph.bin"), g.as_graph_def().encode_to_vec()).unwrap();
    let meta = MetaGraphDef::decode(&fs::read(folder.file("model.meta")).unwrap()[..]).unwrap();
    fs::write(folder.file("text.meta"), text::print(&meta)).unwrap();
    let kind = |path: &str| folder.json(&["inspect", path, "--json"])["kind"].as_str().unwrap().to_string();
    for (path, expected) in [
        ("model.meta", "MetaGraph"),
        ("text.meta", "MetaGraph"),
        ("graph.bin", "GraphDef"),
        ("model", "checkpoint"),
        ("model.index", "checkpoint"),
        ("model.data-00000-of-00001", "checkpoint"),
        ("checkpoint", "checkpoint"),
        (".", "checkpoint"),
    ] {
        assert_eq!(kind(path), expected, "{path}");
    }
    // A state file with paths of another machine.
    fs::write(folder.file("checkpoint"), "model_checkpoint_path: \"/another/machine/model\"\n").unwrap();
    let found = folder.json(&["inspect", ".", "--json"]);
    assert!(found["found"].to_string().contains("beside") && found["checkpoint"].as_str().unwrap().ends_with("model"), "{found}");
}

#[test]
fn inspect_tells_what_a_model_is() {
    let folder = Folder::new("inspect");
    model(&folder);
    let report = folder.json(&["inspect", "model", "--json"]);
    assert_eq!(report["producer"], 1645);
    assert_eq!(report["inputs"][0]["name"], "x:0");
    assert_eq!(report["inputs"][0]["shape"].to_string(), "[-1,2]");
    let outputs: Vec<&str> = report["outputs"].as_array().unwrap().iter().map(|o| o["name"].as_str().unwrap()).collect();
    assert_eq!(outputs, ["y:0"]);
    assert_eq!(report["unsupported_ops"].as_array().unwrap().len(), 0);
    let variables = report["variables"].as_array().unwrap();
    assert_eq!(variables.len(), 3);
    assert!(variables.iter().all(|v| v["in_checkpoint"] == true));
    assert_eq!((&variables[0]["name"], &variables[0]["bytes"]), (&"w".into(), &24.into()));
    assert_eq!(report["saver"]["restore"], "save/restore_all");
    let page = folder.ok(&["inspect", "model.meta"]);
    for part in ["Inputs", "x:0", "float32[?,2]", "Likely outputs", "Variables (3,", "in the checkpoint", "Collections"] {
        assert!(page.contains(part), "{part} isn't in {page}");
    }
    let ops = folder.json(&["inspect", "model.meta", "--ops", "matmul", "--json"]);
    assert_eq!((ops[0]["name"].as_str(), ops[0]["inputs"].to_string().as_str()), (Some("MatMul"), "[\"x:0\",\"w/read:0\"]"));
    let w = folder.json(&["inspect", "model", "--tensor", "w", "--json"]);
    assert_eq!(
        (w["statistics"]["mean"].as_f64(), w["values"].to_string().as_str()),
        (Some(3.5), "[[1.0,2.0,3.0],[4.0,5.0,6.0]]")
    );
    assert!(folder.fails(1, &["inspect", "model", "--tensor", "y"]).contains("metagraph run"));
}

#[test]
fn recurrent_state_is_recognized() {
    let folder = Folder::new("state");
    let g = Graph::new();
    let start = g.named("state").placeholder(DType::Float, [Some(1), Some(3)]).unwrap();
    let zero = g.constant(0i32).unwrap();
    let out = g.while_loop(
        |g, (i, _): &(metagraph::Output, metagraph::Output)| g.op("Less").input(*i).input(g.constant(4i32)?).output(),
        |g, (i, s): (metagraph::Output, metagraph::Output)| {
            Ok((g.op("AddV2").input(i).input(g.constant(1i32)?).output()?, g.op("Tanh").input(s).output()?))
        },
        (zero, start),
        &WhileOptions::default(),
    );
    out.unwrap();
    fs::write(folder.file("loop.pb"), g.as_graph_def().encode_to_vec()).unwrap();
    let report = folder.json(&["inspect", "loop.pb", "--json"]);
    let states = report["states"].as_array().unwrap();
    assert_eq!(states.len(), 1, "{report}");
    assert_eq!((states[0]["exit"].as_str(), states[0]["continues"].as_str()), (Some("while/Exit_1:0"), Some("state:0")));
    assert_eq!(report["loops"][0]["variables"], 2);
}

#[test]
fn freezing_keeps_the_values() {
    let folder = Folder::new("freeze");
    model(&folder);
    folder.ok(&["freeze", "--meta", "model.meta", "--checkpoint", "model", "--fetch", "y", "--out", "frozen.pb"]);
    let frozen = GraphDef::decode(&fs::read(folder.file("frozen.pb")).unwrap()[..]).unwrap();
    assert!(frozen.node.iter().all(|n| !n.op.contains("Variable") && !n.op.starts_with("Save")), "{frozen:?}");
    let args = ["run", "--graph", "frozen.pb", "--feed", "x=[[1,2]]", "--fetch", "y", "--json"];
    assert_eq!(folder.json(&args)["fetches"]["y:0"]["values"].to_string(), "[[10.0,13.0,16.0]]");
    folder.ok(&["freeze", "--meta", "model.meta", "--checkpoint", "model", "--fetch", "y:0", "--out", "frozen.pbtxt"]);
    assert_eq!(text::parse::<GraphDef>(&fs::read_to_string(folder.file("frozen.pbtxt")).unwrap()).unwrap(), frozen);
    let source = ["freeze", "--meta", "model.meta", "--checkpoint", "model", "--out", "f.pb", "--fetch"];
    assert!(folder.fails(1, &[&source[..], &["AssignAdd"]].concat()).contains("changes a variable"));
    assert!(folder.fails(1, &["freeze", "--meta", "model.meta", "--fetch", "y", "--out", "f.pb"]).contains("--checkpoint"));
    assert!(!Path::new(&folder.file("f.pb")).exists());
}

#[test]
fn conversions_round_trip() {
    let folder = Folder::new("convert");
    model(&folder);
    for (there, back) in [("w.npz", "a"), ("w.safetensors", "b")] {
        folder.ok(&["convert", "model", there]);
        folder.ok(&["convert", there, back]);
        let report = folder.json(&["diff", "model", back, "--json"]);
        assert_eq!((&report["differ"], &report["values"]["same"]), (&false.into(), &3.into()), "{there}");
    }
    assert_eq!(numpy::read_npz(folder.file("w.npz")).unwrap()["step"].to_string(), "i64 0");
    assert!(folder.fails(1, &["convert", "model", "model"]).contains("itself"));
    let safe = fs::read(folder.file("w.safetensors")).unwrap();
    fs::write(folder.file("cut.safetensors"), &safe[..safe.len() - 1]).unwrap();
    folder.fails(1, &["convert", "cut.safetensors", "c"]);
}

#[test]
fn differences_are_told_and_exit_with_1() {
    let folder = Folder::new("diff");
    model(&folder);
    folder.ok(&["diff", "model", "model"]);
    folder.ok(&["run", "--meta", "model.meta", "--checkpoint", "model", "--target", "AssignAdd", "--save", "next"]);
    let output = folder.run(&["diff", "model", "next", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["values"]["changed"][0]["name"], "step", "{report}");
    assert_eq!(report["nodes"]["changed"].as_array().unwrap().len(), 0, "{report}");
}

#[test]
fn the_doctor_finds_what_is_wrong() {
    let folder = Folder::new("doctor");
    model(&folder);
    let kinds = |path: &str, code: i32| {
        let output = folder.run(&["doctor", path, "--json"]);
        assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stdout));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let findings = report["findings"].as_array().unwrap();
        assert!(findings.iter().all(|f| f["do"].as_str().is_some_and(|d| !d.is_empty())));
        findings.iter().map(|f| f["kind"].as_str().unwrap().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(kinds("model", 0), Vec::<String>::new());
    let data = folder.file("model.data-00000-of-00001");
    let mut bytes = fs::read(&data).unwrap();
    bytes[0] ^= 1;
    fs::write(&data, &bytes).unwrap();
    assert_eq!(kinds("model", 1), ["checksum"]);
    fs::remove_file(&data).unwrap();
    assert_eq!(kinds("model", 1), ["missing_file"]);
    fs::write(folder.file("checkpoint"), "model_checkpoint_path: \"/nowhere/m\"").unwrap();
    assert_eq!(kinds(".", 1), ["unreadable"]);
    let graph = "node { name: 'a' op: 'Identity' input: 'gone' attr { key: 'T' value { type: DT_FLOAT } } }
        node { name: 'b' op: 'Neg' input: 'c' attr { key: 'T' value { type: DT_FLOAT } } }
        node { name: 'c' op: 'Neg' input: 'b' attr { key: 'T' value { type: DT_FLOAT } } }
        node { name: 'd' op: 'NoSuchOp' }";
    fs::write(folder.file("bad.pbtxt"), graph).unwrap();
    let mut found = kinds("bad.pbtxt", 1);
    found.sort();
    assert!(["cycle", "dangling", "op"].iter().all(|k| found.contains(&k.to_string())), "{found:?}");
}

#[test]
fn graphs_are_drawn() {
    let folder = Folder::new("graph");
    model(&folder);
    folder.ok(&["graph", "model.meta", "--out", "g.svg"]);
    let svg = fs::read_to_string(folder.file("g.svg")).unwrap();
    assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n") && svg.contains(">MatMul<") && svg.contains("stroke-dasharray"));
    assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    folder.ok(&["graph", "model.meta", "--fetch", "y", "--format", "dot", "--out", "g.txt"]);
    let dot = fs::read_to_string(folder.file("g.txt")).unwrap();
    assert!(dot.contains("\"x\" -> \"MatMul\"") && !dot.contains("save"), "{dot}");
    folder.ok(&["graph", "model.meta", "--out", "g.html"]);
    let html = fs::read_to_string(folder.file("g.html")).unwrap();
    assert!(html.contains("\"MatMul\"") && !html.contains("src=") && !html.contains("{{"));
    assert!(folder.fails(1, &["graph", "model.meta", "--scope", "none", "--out", "g.svg"]).contains("scope none"));
}

/// Where a SavedModel that TensorFlow 2 wrote lies: `y = x w` and `steps`, in functions that take the variables' handles.
fn object_graph() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/saved_model/v2").to_str().unwrap().to_string()
}

#[test]
fn a_saved_model_of_functions_is_understood() {
    let folder = Folder::new("functions");
    let model = object_graph();
    let report = folder.json(&["inspect", &model, "--json"]);
    let names = |key: &str| -> Vec<String> {
        report[key].as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap().to_string()).collect()
    };
    assert_eq!(names("inputs"), ["serving_default_x:0"]);
    assert_eq!(names("outputs"), ["StatefulPartitionedCall:0", "StatefulPartitionedCall:1"]);
    let mut variables = names("variables");
    variables.sort();
    assert_eq!(variables, ["steps", "w"]);
    for variable in report["variables"].as_array().unwrap() {
        assert_eq!(variable["in_checkpoint"], true, "{variable}");
        assert!(variable["key"].as_str().unwrap().ends_with("/.ATTRIBUTES/VARIABLE_VALUE"), "{variable}");
    }
    assert_eq!(folder.json(&["inspect", &model, "--tensor", "w", "--json"])["values"].to_string(), "[[1.0,2.0]]");
    assert_eq!(folder.json(&["doctor", &model, "--json"])["findings"].as_array().unwrap().len(), 0);
    let run = folder.json(&["run", "--saved-model", &model, "--feed", "x=[[1],[3]]", "--json"]);
    assert_eq!(run["fetches"]["y"]["values"].to_string(), "[[1.0,2.0],[3.0,6.0]]");

    let frozen = folder.json(&["freeze", "--saved-model", &model, "--fetch", "y", "steps", "--out", "f.pb", "--json"]);
    assert_eq!(frozen["variables"], 2);
    let def = GraphDef::decode(&fs::read(folder.file("f.pb")).unwrap()[..]).unwrap();
    let functions = def.library.as_ref().unwrap().function.iter().flat_map(|f| &f.node_def);
    assert!(def.node.iter().chain(functions).all(|n| n.op != "VarHandleOp" && n.op != "ReadVariableOp"));
    let fetches = ["StatefulPartitionedCall:0", "StatefulPartitionedCall:1"];
    let source = ["run", "--graph", "f.pb", "--feed", "serving_default_x=[[1],[3]]", "--json", "--fetch"];
    let run = folder.json(&[&source[..], &fetches].concat());
    let mut values: Vec<String> = fetches.iter().map(|f| run["fetches"][f]["values"].to_string()).collect();
    values.sort();
    assert_eq!(values, ["7", "[[1.0,2.0],[3.0,6.0]]"]);
}

#[test]
fn a_trace_tells_what_ran() {
    let folder = Folder::new("trace");
    model(&folder);
    let source = ["run", "--meta", "model.meta", "--checkpoint", "model", "--feed", "x=[[1,2]]", "--fetch", "y"];
    let page = folder.ok(&[&source[..], &["--repeat", "3", "--trace", "t.json"]].concat());
    assert!(page.contains("MatMul") && page.contains("trace in t.json"), "{page}");
    let trace: Value = serde_json::from_str(&fs::read_to_string(folder.file("t.json")).unwrap()).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    assert_eq!(events.iter().filter(|e| e["name"] == "MatMul").count(), 1, "of the last run alone: {events:?}");
    assert!(events.iter().all(|e| e["ph"] == "X" && e["dur"].as_f64().is_some_and(|d| d >= 0.0)));
    let report = folder.json(&[&source[..], &["--trace", "t.json", "--json"]].concat());
    assert!(report["trace"]["ops"].as_array().unwrap().iter().any(|o| o["op"] == "MatMul" && o["runs"] == 1));
    assert!(folder.fails(1, &[&source[..], &["--trace", "none/t.json"]].concat()).contains("there is no directory none"));
}

#[test]
fn programs_get_json() {
    let folder = Folder::new("json");
    model(&folder);
    let freeze = ["freeze", "--meta", "model.meta", "--checkpoint", "model", "--fetch", "y", "--out", "f.pb", "--json"];
    assert_eq!(folder.json(&freeze)["variables"], 2);
    assert_eq!(folder.json(&["convert", "model", "w.npz", "--json"])["tensors"], 3);
    let drawn = folder.json(&["graph", "f.pb", "--out", "f.svg", "--json"]);
    assert!(drawn["nodes"].as_u64().is_some_and(|n| n >= 5), "{drawn}");
}

#[test]
fn every_dtype_is_fed_and_fetched() {
    let folder = Folder::new("dtypes");
    let g = Graph::new();
    let table = [
        (DType::Bool, "[true,false]", "[true,false]"),
        (DType::Uint8, "[1,255]", "[1,255]"),
        (DType::Int8, "[-128,127]", "[-128,127]"),
        (DType::Uint16, "[1,65535]", "[1,65535]"),
        (DType::Int16, "[1,-2]", "[1,-2]"),
        (DType::Int32, "[1,-2]", "[1,-2]"),
        (DType::Uint32, "[1,4294967295]", "[1,4294967295]"),
        (DType::Int64, "[9223372036854775807,-1]", "[9223372036854775807,-1]"),
        (DType::Uint64, "[18446744073709551615,0]", "[18446744073709551615,0]"),
        (DType::Half, "[1.5,-2]", "[1.5,-2.0]"),
        (DType::Bfloat16, "[1.5,nan]", "[1.5,\"NaN\"]"),
        (DType::Float, "(1., -.5)", "[1.0,-0.5]"),
        (DType::Double, "[1e300,-inf]", "[1e+300,\"-inf\"]"),
        (DType::Complex64, "c64[1:2 0:-1]", "[\"1:2\",\"0:-1\"]"),
        (DType::Complex128, "[1,2]", "[\"1:0\",\"2:0\"]"),
        (DType::Qint8, "[-1,1]", "[-1,1]"),
        (DType::String, "[\"a\",\"ä b\"]", "[\"a\",\"ä b\"]"),
    ];
    for (dtype, ..) in &table {
        let x = g.named(&format!("x_{dtype}")).placeholder(*dtype, [2]).unwrap();
        g.op("Identity").input(x).name(&format!("y_{dtype}")).output().unwrap();
    }
    fs::write(folder.file("g.pb"), g.as_graph_def().encode_to_vec()).unwrap();
    let mut arguments = vec!["run".to_string(), "--graph".into(), "g.pb".into()];
    for (dtype, literal, _) in &table {
        let (feed, fetch) = (format!("x_{dtype}={literal}"), format!("y_{dtype}"));
        arguments.extend(["--feed".to_string(), feed, "--fetch".into(), fetch]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let report = folder.json(&[&arguments[..], &["--json", "--out", "out.npz"]].concat());
    for (dtype, _, expected) in &table {
        assert_eq!(report["fetches"][format!("y_{dtype}:0")]["values"].to_string(), *expected, "{dtype}");
    }
    // What was fetched is fed again, by file.
    let arrays = numpy::read_npz(folder.file("out.npz")).unwrap();
    let renamed: Vec<(String, &Tensor)> = arrays.iter().map(|(n, t)| (n.replacen('y', "x", 1), t)).collect();
    numpy::write_npz(folder.file("in.npz"), renamed.iter().map(|(n, t)| (n.as_str(), *t))).unwrap();
    let mut again = vec!["run", "--graph", "g.pb", "--feeds", "in.npz", "--json", "--fetch"];
    let fetches: Vec<String> = table.iter().map(|t| format!("y_{}", t.0)).collect();
    again.extend(fetches.iter().map(String::as_str));
    assert_eq!(folder.json(&again)["fetches"], report["fetches"]);
}

#[test]
fn a_large_flat_graph_is_drawn_as_groups() {
    let folder = Folder::new("flat");
    let g = Graph::new();
    let x = g.named("x").placeholder(DType::Float, [None]).unwrap();
    let mut h = x;
    for _ in 0..1500 {
        h = g.op("Neg").input(g.op("Tanh").input(h).output().unwrap()).output().unwrap();
    }
    fs::write(folder.file("flat.pb"), g.as_graph_def().encode_to_vec()).unwrap();
    folder.ok(&["graph", "flat.pb", "--out", "flat.svg"]);
    let svg = fs::read_to_string(folder.file("flat.svg")).unwrap();
    assert!(svg.contains(">x … ") && svg.contains(">61 nodes<"), "{svg}");
    assert!(svg.matches("<g>").count() < 200, "{}", svg.matches("<g>").count());
}

/// Bytes of a model's files, changed in every way that a small generator finds: each command ends with a sentence.
#[test]
fn damaged_files_are_no_panic() {
    let folder = Folder::new("damaged");
    model(&folder);
    folder.ok(&["freeze", "--meta", "model.meta", "--checkpoint", "model", "--fetch", "y", "--out", "g.pb"]);
    folder.ok(&["convert", "model", "w.npz"]);
    folder.ok(&["convert", "model", "w.safetensors"]);
    let run = ["run", "--meta", "model.meta", "--checkpoint", "model", "--feed", "x=[[1,2]]", "--fetch", "y"];
    let commands: [(&str, &[&str]); 9] = [
        ("model.meta", &["inspect", "model.meta"]),
        ("model.meta", &["graph", "model.meta", "--out", "g.svg"]),
        ("model.index", &["doctor", "model"]),
        ("model.index", &run),
        ("model.data-00000-of-00001", &["doctor", "model"]),
        ("g.pb", &["doctor", "g.pb"]),
        ("w.npz", &["convert", "w.npz", "a"]),
        ("w.safetensors", &["convert", "w.safetensors", "b"]),
        ("checkpoint", &["inspect", "."]),
    ];
    let mut state = 1u64;
    let mut random = |below: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize % below
    };
    for round in 0..12 {
        for (file, command) in &commands {
            let whole = fs::read(folder.file(file)).unwrap();
            let mut bytes = whole.clone();
            if round % 4 == 0 {
                bytes.truncate(random(whole.len()));
            } else {
                for _ in 0..1 + random(4) {
                    let at = random(bytes.len());
                    bytes[at] = [0, 0x7f, 0x80, 0xff, bytes[at] ^ 1 << random(8)][random(5)];
                }
            }
            fs::write(folder.file(file), &bytes).unwrap();
            let output = folder.run(command);
            let err = String::from_utf8_lossy(&output.stderr);
            assert!(matches!(output.status.code(), Some(0 | 1)) && !err.contains("panicked"), "{command:?} {bytes:?}: {err}");
            fs::write(folder.file(file), &whole).unwrap();
        }
    }
}
