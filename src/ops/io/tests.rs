//! What TensorFlow 2.15 answers, through graphs and files.

use crate::error::{Code, Error, Result};
use crate::graph::{Graph, Operation, Output};
use crate::tensor::{DType, Shape, Tensor};
use bytes::Bytes;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

struct TestDir(PathBuf);

impl TestDir {
    fn new() -> TestDir {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("metagraph-io-{}-{count}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        TestDir(dir)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_string()
    }
}

impl Drop for TestDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn strings(values: &[&str]) -> Tensor {
    Tensor::from_strings(&[values.len()], values.iter().map(|v| Bytes::copy_from_slice(v.as_bytes())).collect()).unwrap()
}

/// A placeholder, so that nothing is known of the value when the graph is built.
fn unknown(g: &Graph, dtype: DType) -> Output {
    g.placeholder(dtype, Shape::unknown()).unwrap()
}

/// Runs an op whose inputs are all fed, those behind `listed` as a list.
fn run(op: &str, attrs: &[(&str, &[DType])], inputs: &[Tensor], listed: usize) -> Result<Vec<Tensor>> {
    let g = Graph::new();
    let places: Vec<Output> = inputs.iter().map(|i| unknown(&g, i.dtype())).collect();
    let mut builder = g.op(op);
    for place in &places[..listed] {
        builder = builder.input(*place);
    }
    if listed < places.len() {
        builder = builder.input_list(&places[listed..]);
    }
    for &(name, types) in attrs {
        builder = match name {
            "dt" => builder.attr(name, types[0]),
            _ => builder.attr(name, types),
        };
    }
    let op: Operation = builder.finish()?;
    let feeds: Vec<(Output, &Tensor)> = places.iter().copied().zip(inputs).collect();
    crate::Session::new(&g).run_with_targets(&g.outputs(op), &[op], &feeds)
}

fn save_v2(prefix: &str, entries: &[(&str, &str, Tensor)]) -> Result<()> {
    let names = strings(&entries.iter().map(|e| e.0).collect::<Vec<_>>());
    let specs = strings(&entries.iter().map(|e| e.1).collect::<Vec<_>>());
    let mut inputs = vec![Tensor::from(prefix), names, specs];
    inputs.extend(entries.iter().map(|e| e.2.clone()));
    run("SaveV2", &[], &inputs, 3).map(drop)
}

fn save_slices(path: &str, entries: &[(&str, &str, Tensor)]) -> Result<()> {
    let names = strings(&entries.iter().map(|e| e.0).collect::<Vec<_>>());
    let specs = strings(&entries.iter().map(|e| e.1).collect::<Vec<_>>());
    let mut inputs = vec![Tensor::from(path), names, specs];
    inputs.extend(entries.iter().map(|e| e.2.clone()));
    run("SaveSlices", &[], &inputs, 3).map(drop)
}

fn restore_v2(prefix: &str, name: &str, spec: &str, dtype: DType) -> Result<Tensor> {
    let inputs = [Tensor::from(prefix), strings(&[name]), strings(&[spec])];
    Ok(run("RestoreV2", &[("dtypes", &[dtype])], &inputs, 3)?.remove(0))
}

fn assert_error(result: Result<impl std::fmt::Debug>, code: Code, message: &str) {
    let error: Error = result.unwrap_err();
    assert!(error.code() == code && error.message().starts_with(message), "expected {code:?} {message}\ngot {error}");
}

#[test]
fn v2_checkpoints() {
    use Code::*;
    use DType::{Float, Int32};
    let dir = TestDir::new();
    let (v2, v1, none) = (dir.path("v2"), dir.path("v1"), dir.path("none"));
    let a = Tensor::vector(&[1f32, 2.0, 3.0]);
    save_v2(&v2, &[("a", "", a.clone()), ("b", "", strings(&["x", "yy"])), ("p", "4 0,3", a.clone())]).unwrap();
    save_slices(&v1, &[("a", "", a.clone())]).unwrap();
    for prefix in [&v2, &v1] {
        assert_eq!(restore_v2(prefix, "a", "", Float).unwrap(), a);
        assert_eq!(restore_v2(prefix, "a", "3 1,2", Float).unwrap().to_string(), "f32[2 3]");
        assert_error(
            restore_v2(prefix, "a", "3 0,4", Float),
            Internal,
            "Extent in dimension 0 out of bounds: shape = [3], slice = 0,4",
        );
        assert_error(restore_v2(prefix, "a", "3", Float), InvalidArgument, "Need least two elements in shape_and_slice");
    }
    assert_eq!(restore_v2(&v2, "b", "", DType::String).unwrap(), strings(&["x", "yy"]));
    assert_eq!(restore_v2(&v2, "p", "4 1,2", Float).unwrap().to_string(), "f32[2 3]");
    let table = [
        (&v2, "zz", "", Float, NotFound, "Key zz not found in checkpoint".to_string()),
        (
            &v2,
            "a",
            "",
            Int32,
            InvalidArgument,
            "tensor_name = a; expected dtype int32 does not equal original dtype float".into(),
        ),
        (
            &v2,
            "a",
            "4 0,2",
            Float,
            InvalidArgument,
            "tensor_name = a; shape in shape_and_slice spec [4] does not match the shape stored in checkpoint: [3]".into(),
        ),
        (&v2, "p", "", Float, InvalidArgument, "Does not have sufficient slices for partitioned tensor p".into()),
        (
            &none,
            "a",
            "",
            Float,
            NotFound,
            format!("Unsuccessful TensorSliceReader constructor: Failed to find any matching files for {none}"),
        ),
        (&v1, "zz", "", Float, NotFound, format!("Tensor name \"zz\" not found in checkpoint files {v1}")),
        (
            &v1,
            "a",
            "",
            Int32,
            InvalidArgument,
            "Expected to restore a tensor of type int32, got a tensor of type float instead: tensor_name = a".into(),
        ),
        (
            &v1,
            "a",
            "4 0,2",
            Float,
            InvalidArgument,
            "Shape in shape_and_slice spec does not match the shape in the save file: [4], save file shape: [3]".into(),
        ),
    ];
    for (prefix, name, spec, dtype, code, message) in table {
        assert_error(restore_v2(prefix, name, spec, dtype), code, &message);
    }
    let text = |values: &[&str]| strings(values);
    let prefix = || Tensor::from(v2.as_str());
    let restore = |inputs: [Tensor; 3]| run("RestoreV2", &[("dtypes", &[Float, Float])], &inputs, 3);
    assert_error(restore([prefix(), text(&["a"]), text(&[""])]), InvalidArgument, "Got 1 tensor names, but 2 expected dtypes.");
    assert_error(
        restore([prefix(), text(&["a", "a"]), text(&[""])]),
        InvalidArgument,
        "tensor_names and shape_and_slices have different number of elements: 2 vs. 1",
    );
    assert_error(
        restore([strings(&["x", "y"]), text(&["a", "a"]), text(&["", ""])]),
        InvalidArgument,
        "Input prefix should have a single element, got 2 instead.",
    );
    assert_error(
        restore([prefix(), text(&["a", "a"]).reshaped(&[2, 1]).unwrap(), text(&["", ""])]),
        InvalidArgument,
        "Input tensor_names and shape_and_slices should be an 1-D tensors, got [2,1] and [2] instead.",
    );
    assert_eq!(restore([prefix(), text(&["a", "p"]), text(&["", "4 0,1"])]).unwrap()[1].to_string(), "f32[1]");
    assert_error(
        save_v2(&v2, &[("p", "4 0,2", a.clone())]),
        InvalidArgument,
        "Slice in shape_and_slice specification does not match the shape of the tensor to  save: 4 0,2, tensor: [3]",
    );
    assert_error(save_v2(&v2, &[("a", "", a.clone()), ("a", "", a.clone())]), InvalidArgument, "Adding duplicate key: a");
    let missing = dir.path("no/such");
    assert_error(save_v2(&format!("{missing}/m"), &[("a", "", a)]), NotFound, &format!("{missing}; No such file or directory"));
    assert_eq!(restore_v2(&v2, "b", "", DType::String).unwrap(), strings(&["x", "yy"]));
}

#[test]
fn v1_checkpoints() {
    use Code::*;
    let dir = TestDir::new();
    let (path, pattern) = (dir.path("v1"), dir.path("s-?????-of-00002"));
    let a = Tensor::vector(&[1f32, 2.0]);
    let scalar = |s: &str| Tensor::from(s);
    run("Save", &[], &[scalar(&path), strings(&["a", "b"]), a.clone(), strings(&["x"])], 2).unwrap();
    save_slices(&dir.path("s-00000-of-00002"), &[("w", "4 0,2", a.clone())]).unwrap();
    save_slices(&dir.path("s-00001-of-00002"), &[("w", "4 2,2", a.clone())]).unwrap();
    let restore = |pattern: &str, name: &str| {
        run("Restore", &[("dt", &[DType::Float])], &[scalar(pattern), scalar(name)], 2).map(|mut r| r.remove(0))
    };
    let restore_slice = |name: &str, spec: &str| {
        let inputs = [scalar(&pattern), scalar(name), scalar(spec)];
        run("RestoreSlice", &[("dt", &[DType::Float])], &inputs, 3).map(|mut r| r.remove(0))
    };
    assert_eq!(restore(&path, "a").unwrap(), a);
    assert_eq!(restore(&pattern, "w").unwrap().to_string(), "f32[1 2 1 2]");
    assert_eq!(restore_slice("w", "4 1,2").unwrap().to_string(), "f32[2 1]");
    assert_eq!(restore_slice("w", "").unwrap().to_string(), "f32[1 2 1 2]");
    assert_error(restore(&path, "c"), NotFound, "Tensor name \"c\" not found in checkpoint files");
    assert_error(restore(&path, "b"), InvalidArgument, "Expected to restore a tensor of type float, got a tensor of type string");
    assert_error(restore_slice("w", "5 1,2"), InvalidArgument, "Shape in shape_and_slice spec does not match");
    let wrong = run("Save", &[], &[scalar(&path), strings(&["a", "b"]), a.clone()], 2);
    assert_error(wrong, InvalidArgument, "Expected totally 4 inputs as input #1");
    let wrong = run("Save", &[], &[strings(&["a", "b"]), strings(&["a"]), a.clone()], 2);
    assert_error(wrong, InvalidArgument, "Input 0 (filename) must be a string scalar; got a tensor of 2 elements");
    let wrong = run("SaveSlices", &[], &[scalar(&path), strings(&["a"]), strings(&[]), a], 3);
    assert_error(wrong, InvalidArgument, "Expected 1 elements for the tensor shapes and slices but got 0");
}

#[test]
fn merged_checkpoints() {
    let dir = TestDir::new();
    let two = Tensor::vector(&[1f32, 2.0]);
    for (i, spec) in ["4 0,2", "4 2,2"].into_iter().enumerate() {
        save_v2(&dir.path(&format!("part{i}/p")), &[("w", spec, two.clone())]).unwrap();
    }
    let parts = [dir.path("part0/p"), dir.path("part1/p")];
    let merge = |parts: &[&str], merged: Tensor| run("MergeV2Checkpoints", &[], &[strings(parts), merged], 2);
    let merged = dir.path("m");
    merge(&[&parts[0], &parts[1]], Tensor::from(merged.as_str())).unwrap();
    assert_eq!(restore_v2(&merged, "w", "", DType::Float).unwrap().to_string(), "f32[1 2 1 2]");
    assert!(!fs::exists(dir.path("part0")).unwrap() && !fs::exists(dir.path("part1")).unwrap());
    assert_error(merge(&[&parts[0]], Tensor::from("x")), Code::InvalidArgument, "allow_missing_files was set to false");
    let error = "Input destination_prefix should be a scalar tensor, got [1] instead.";
    assert_error(merge(&[&merged], strings(&["x"])), Code::InvalidArgument, error);
}

#[test]
fn files() {
    use Code::*;
    let dir = TestDir::new();
    let read = |path: Tensor| run("ReadFile", &[], &[path], 1).map(|mut r| r.remove(0));
    let write = |path: &str| run("WriteFile", &[], &[Tensor::from(path), Tensor::from("abc\0")], 2);
    let path = dir.path("x/y/z");
    write(&path).unwrap();
    assert_eq!(read(Tensor::from(path.as_str())).unwrap(), Tensor::from("abc\0"));
    let below = format!("{path}/below");
    assert_error(read(Tensor::from(below.as_str())), FailedPrecondition, &format!("{below}; Not a directory"));
    assert_error(write(&below), FailedPrecondition, &format!("{below}; Not a directory"));
    let none = dir.path("none");
    assert_error(read(Tensor::from(none.as_str())), NotFound, &format!("{none}; No such file or directory"));
    let folder = dir.path("x");
    assert_error(read(Tensor::from(folder.as_str())), FailedPrecondition, &format!("{folder}; Is a directory"));
    assert_error(read(strings(&["a"])), InvalidArgument, "Input filename tensor must be scalar, but had shape: [1]");
    write(&dir.path("x/y/a")).unwrap();
    let find = |patterns: Tensor| run("MatchingFiles", &[], &[patterns], 1).map(|mut r| r.remove(0));
    let patterns = [dir.path("x/y/?"), dir.path("*/y"), dir.path("x/none*")];
    let found = find(strings(&patterns.each_ref().map(|p| p.as_str()))).unwrap();
    assert_eq!(found, strings(&[&dir.path("x/y"), &dir.path("x/y/a"), &path]));
    assert_eq!(find(Tensor::from("")).unwrap(), strings(&[]));
    let error = "Input patterns tensor must be scalar or vector, but had shape: [1,1]";
    assert_error(find(strings(&["a"]).reshaped(&[1, 1]).unwrap()), InvalidArgument, error);
    let file = |name: Tensor| run("ShardedFilename", &[], &[name, Tensor::scalar(3), Tensor::scalar(12)], 3);
    assert_eq!(file(Tensor::from("d/m")).unwrap()[0], Tensor::from("d/m-00003-of-00012"));
    assert_eq!(file(Tensor::from("d\0m")).unwrap()[0], Tensor::from("d-00003-of-00012"));
    assert_error(file(strings(&["m"])), InvalidArgument, "basename must be a scalar, got shape [1]");
    let spec = run("ShardedFilespec", &[], &[Tensor::from("d/m"), Tensor::scalar(12)], 2);
    assert_eq!(spec.unwrap()[0], Tensor::from("d/m-?????-of-00012"));
}

#[test]
fn shapes() {
    let g = Graph::new();
    let text = |dims: &[usize]| g.placeholder(DType::String, Shape::known(dims)).unwrap();
    let float = || g.placeholder(DType::Float, Shape::unknown()).unwrap();
    let error = |result: Result<Operation>| result.unwrap_err().message().to_string();
    let save = |p: &[usize], n: usize, s: usize| {
        g.op("SaveV2").input(text(p)).input(text(&[n])).input(text(&[s])).input_list(&[float(), float()]).finish()
    };
    save(&[], 2, 2).unwrap();
    assert_eq!(error(save(&[], 3, 2)), "Dimension must be 2 but is 3");
    assert_eq!(error(save(&[], 2, 3)), "Dimension must be 2 but is 3");
    assert_eq!(error(save(&[1], 2, 2)), "Shape must be rank 0 but is rank 1 for shape [1]");
    let v1 = g.op("Save").input(text(&[])).input(text(&[2])).input_list(&[float()]).finish();
    assert_eq!(error(v1), "Dimension must be 1 but is 2");
    let restore = |names: usize, specs: &[&str], outputs: usize| {
        let specs = g.constant(strings(specs)).unwrap();
        let types = vec![DType::Int32; outputs];
        g.op("RestoreV2").input(text(&[])).input(text(&[names])).input(specs).attr("dtypes", &types[..]).outputs()
    };
    let outputs = restore(2, &["", "3 4 0,2:-"], 2).unwrap();
    assert_eq!(g.shape(outputs[0]).unwrap(), Shape::unknown());
    assert_eq!(g.shape(outputs[1]).unwrap(), Shape::from([2, 4]));
    let message = |r: Result<Vec<Output>>| r.unwrap_err().message().to_string();
    assert!(message(restore(3, &["", ""], 2)).starts_with("Dimension 0 in both shapes must be equal, but are 3 and 2."));
    assert_eq!(message(restore(2, &["", ""], 3)), "The number of shape_and_slice doesn't match tensor outputs.");
    assert_eq!(message(restore(1, &["3 0,4"], 1)), "Extent in dimension 0 out of bounds: shape = [3], slice = 0,4");
    let spec = g.constant("3 4 0,2:-").unwrap();
    let slice = g.op("RestoreSlice").input(text(&[])).input(text(&[])).input(spec).attr("dt", DType::Float).output().unwrap();
    assert_eq!(g.shape(slice).unwrap(), Shape::from([2, 4]));
    let merge = |a: &[usize], b: &[usize]| g.op("MergeV2Checkpoints").input(text(a)).input(text(b)).finish();
    merge(&[3], &[]).unwrap();
    assert!(merge(&[], &[]).is_err() && merge(&[3], &[1]).is_err());
    assert_eq!(g.shape(g.read_file(text(&[])).unwrap()).unwrap(), Shape::scalar());
    assert_eq!(g.shape(g.matching_files(text(&[2])).unwrap()).unwrap(), Shape::vector(None));
    assert!(g.matching_files(text(&[2, 2])).is_err() && g.write_file(text(&[]), text(&[1])).is_err());
}
