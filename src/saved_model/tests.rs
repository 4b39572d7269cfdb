//! Against SavedModels that TensorFlow wrote: `tests/fixtures/saved_model/make.py`.

use super::*;
use crate::proto::{MetaGraphDef, NodeDef, SavedModel, text};
use crate::tensor::DType;
use crate::train::VariableOptions;
use crate::{Code, Graph, Session, Tensor};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/saved_model").join(name)
}

/// A directory that goes away with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("metagraph-saved-model-{name}-{}", std::process::id()));
        fs::remove_dir_all(&path).ok();
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

/// The program of the script, saved into a directory.
fn save(dir: &Path, asset: &Path) -> SavedModelBuilder {
    let g = Graph::new();
    let x = g.named("x").placeholder(DType::Float, [None]).unwrap();
    let reference = || VariableOptions { use_resource: Some(false), ..VariableOptions::default() };
    let w = g.named("w").variable_with(3f32, reference()).unwrap();
    let resource = VariableOptions { use_resource: Some(true), ..VariableOptions::default() };
    g.named("r").variable_with(Tensor::from([2f32, 4.0]), resource).unwrap();
    {
        let _device = g.device("/cpu:0");
        g.named("v").variable_with(1f32, reference()).unwrap();
    }
    let y = g.named("y").mul(x, w.value().unwrap()).unwrap();
    let hidden = VariableOptions { trainable: Some(false), collections: Some(Vec::new()), ..reference() };
    let words = g.named("words").variable_with("", hidden).unwrap();
    let path = g.named("asset").constant(asset.to_str().unwrap()).unwrap();
    let contents = g.named("contents").read_file(path).unwrap();
    let main = g.named("main").assign(words.handle().unwrap(), contents).unwrap().op;
    let session = Session::new(&g);
    session.run_targets(&[g.global_variables_initializer().unwrap(), words.initializer().unwrap()], &[]).unwrap();
    let mut builder = SavedModelBuilder::new(dir).unwrap();
    let def = predict_signature_def(&g, &[("x", x)], &[("y", y)]).unwrap();
    let options = MetaGraphOptions {
        signatures: &[("serving_default", def)],
        assets: &[path],
        main_op: Some(main),
        ..MetaGraphOptions::default()
    };
    builder.add_meta_graph_and_variables(&session, &[tag::SERVING], &options).unwrap();
    let bare = MetaGraphOptions { clear_devices: true, strip_default_attrs: true, ..MetaGraphOptions::default() };
    builder.add_meta_graph(&g, &[tag::SERVING, "bare"], &bare).unwrap();
    builder
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        match entry.path().is_dir() {
            true => names.extend(self::names(&entry.path()).iter().map(|n| format!("{name}/{n}"))),
            false => names.push(name),
        }
    }
    names.sort();
    names
}

/// What two graphs are compared by; attributes with an underscore but `_class` and values of constants differ freely.
fn nodes(meta: &MetaGraphDef) -> BTreeMap<String, String> {
    let show = |node: &NodeDef| {
        let attrs: Vec<String> = node
            .attr
            .iter()
            .filter(|(name, _)| *name == "_class" || !(name.starts_with('_') || name.as_str() == "value"))
            .map(|(name, value)| format!("{name}={}", text::print(value).replace('\n', " ")))
            .collect();
        format!("{}({}) on '{}' {}", node.op, node.input.join(", "), node.device, attrs.join("; "))
    };
    meta.graph_def.as_ref().unwrap().node.iter().map(|n| (n.name.clone(), show(n))).collect()
}

#[test]
fn what_is_saved_is_what_tensorflow_saves() {
    let folder = Folder::new("save");
    let asset = folder.0.join("words.txt");
    fs::write(&asset, "hello").unwrap();
    let dir = folder.0.join("model");
    save(&dir, &asset).save().unwrap();
    assert_eq!(names(&dir), names(&fixture("v1")));
    for file in ["variables.index", "variables.data-00000-of-00002", "variables.data-00001-of-00002"] {
        let read = |dir: &Path| fs::read(dir.join("variables").join(file)).unwrap();
        assert!(read(&dir) == read(&fixture("v1")), "{file} differs");
    }
    let (ours, theirs) = (read_saved_model(&dir).unwrap(), read_saved_model(fixture("v1")).unwrap());
    assert_eq!(ours.meta_graphs.len(), theirs.meta_graphs.len());
    for (ours, theirs) in ours.meta_graphs.iter().zip(&theirs.meta_graphs) {
        let (a, b) = (nodes(ours), nodes(theirs));
        for (name, node) in &b {
            assert_eq!(a.get(name), Some(node), "{name}");
        }
        assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
        assert_eq!(ours.saver_def, theirs.saver_def);
        assert_eq!(ours.signature_def, theirs.signature_def);
        assert_eq!(ours.collection_def, theirs.collection_def);
        let (a, b) = (ours.meta_info_def.as_ref().unwrap(), theirs.meta_info_def.as_ref().unwrap());
        assert_eq!((&a.tags, a.stripped_default_attrs), (&b.tags, b.stripped_default_attrs));
    }
}

fn check_v1(dir: &Path) {
    let bundle = SavedModelBundle::load(dir, &["serve"]).unwrap();
    let run = bundle.run("serving_default", &[("x", &Tensor::from([1f32, 2.0]))]).unwrap();
    assert_eq!(run["y"].to_string(), "f32[3 6]");
    // The main op has read the asset of the SavedModel, wherever that lies.
    let words = bundle.session().run_named(&["words:0", "r/Read/ReadVariableOp:0", "v:0"], &[]).unwrap();
    assert_eq!(words.iter().map(Tensor::to_string).collect::<Vec<_>>(), ["str \"hello\"", "f32[2 4]", "f32 1"]);
    let scope = LoadOptions { import_scope: Some("a/b".into()), ..LoadOptions::default() };
    let bundle = SavedModelBundle::load_with(dir, &["bare", "serve"], scope).unwrap();
    assert_eq!(bundle.session().run_named(&["a/b/words:0"], &[]).unwrap()[0].to_string(), "str \"hello\"");
}

#[test]
fn models_of_tensorflow_and_ours_are_loaded() {
    check_v1(&fixture("v1"));
    let folder = Folder::new("load");
    let asset = folder.0.join("words.txt");
    fs::write(&asset, "hello").unwrap();
    let dir = folder.0.join("model");
    save(&dir, &asset).save_as_text().unwrap();
    fs::remove_file(asset).unwrap();
    assert!(maybe_saved_model_directory(&dir) && !maybe_saved_model_directory(&folder.0));
    check_v1(&dir);
}

#[test]
fn object_graphs_are_loaded() {
    let bundle = SavedModelBundle::load(fixture("v2"), &["serve"]).unwrap();
    let x = Tensor::new(&[2, 1], vec![1f32, 3.0]).unwrap();
    let outputs = bundle.run("serving_default", &[("x", &x)]).unwrap();
    assert_eq!(outputs["y"].to_string(), "f32[[1 2] [3 6]]");
    assert_eq!(outputs["steps"].to_string(), "i64 7");
}

#[test]
fn what_cannot_be_is_refused() {
    let code = |dir: &Path, tags: &[&str]| SavedModelBundle::load(dir, tags).err().map(|e| e.code());
    assert_eq!(code(&fixture("v1"), &["serve", "gpu"]), Some(Code::NotFound));
    assert_eq!(code(&fixture("."), &["serve"]), Some(Code::NotFound));
    let folder = Folder::new("refuse");
    fs::write(folder.0.join(SAVED_MODEL_FILENAME_PB), b"\xff").unwrap();
    assert_eq!(code(&folder.0, &["serve"]), Some(Code::DataLoss));
    assert_eq!(SavedModelBuilder::new(&folder.0).err().map(|e| e.code()), Some(Code::AlreadyExists));
    // A model with variables, but without their files.
    let model = read_saved_model(fixture("v1")).unwrap();
    fs::remove_file(folder.0.join(SAVED_MODEL_FILENAME_PB)).unwrap();
    fs::write(folder.0.join(SAVED_MODEL_FILENAME_PBTXT), text::print(&model)).unwrap();
    assert_eq!(code(&folder.0, &["serve"]), Some(Code::NotFound));
    fs::write(folder.0.join(SAVED_MODEL_FILENAME_PBTXT), "meta_graphs { nothing: 1 }").unwrap();
    assert_eq!(code(&folder.0, &["serve"]), Some(Code::InvalidArgument));
    let bundle = SavedModelBundle::load(fixture("v1"), &["serve"]).unwrap();
    assert_eq!(bundle.run("x", &[]).unwrap_err().message(), "the SavedModel has no signature 'x', it has serving_default");
    let wrong = bundle.run("serving_default", &[("y", &Tensor::from(1f32))]).unwrap_err();
    assert_eq!(wrong.message(), "signature 'serving_default' has no input 'y', it has x");
}

#[test]
fn a_model_without_variables() {
    let folder = Folder::new("bare");
    let g = Graph::new();
    let x = g.named("x").placeholder(DType::Int32, [None]).unwrap();
    let y = g.square(x).unwrap();
    let dir = folder.0.join("model");
    simple_save(&Session::new(&g), &dir, &[("x", x)], &[("y", y)]).unwrap();
    let written: SavedModel = read_saved_model(&dir).unwrap();
    assert_eq!(written.meta_graphs[0].saver_def, None);
    let bundle = SavedModelBundle::load(&dir, &[tag::SERVING]).unwrap();
    assert!(is_valid_signature(bundle.signature("serving_default").unwrap()));
    assert_eq!(bundle.run("serving_default", &[("x", &Tensor::from([3]))]).unwrap()["y"].to_string(), "i32[9]");
}

#[test]
fn assets_of_one_name_get_names_of_their_own() {
    let folder = Folder::new("assets");
    let g = Graph::new();
    let mut assets = Vec::new();
    for (sub, contents) in [("a", "1"), ("b", "2"), ("c", "1"), ("d", "3")] {
        let path = folder.0.join(sub).join("words.txt");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, contents).unwrap();
        assets.push(g.constant(path.to_str().unwrap()).unwrap());
    }
    let dir = folder.0.join("model");
    let mut builder = SavedModelBuilder::new(&dir).unwrap();
    let options = MetaGraphOptions { assets: &assets, ..MetaGraphOptions::default() };
    builder.add_meta_graph_and_variables(&Session::new(&g), &[], &options).unwrap();
    assert_eq!(names(&dir), ["assets/words.txt", "assets/words.txt_1", "assets/words.txt_2"]);
    let wrong = MetaGraphOptions { assets: &[g.constant(1f32).unwrap()], ..MetaGraphOptions::default() };
    assert_eq!(builder.add_meta_graph(&g, &[], &wrong).unwrap_err().code(), Code::InvalidArgument);
}
