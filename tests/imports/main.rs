//! Graphs that others built: unknown ops, old and new spellings, text and binary form. `make.py` wrote some with TensorFlow.

use metagraph::graph::ImportOptions;
use metagraph::proto::{GraphDef, MetaGraphDef, text};
use metagraph::train::{import_meta_graph, read_meta_graph};
use metagraph::{Code, Graph, Result, Session, Tensor};
use prost::Message;

fn path(name: &str) -> String {
    format!("{}/tests/imports/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn import(text: &str) -> Result<(Graph, GraphDef)> {
    let def: GraphDef = text::parse(text)?;
    let g = Graph::new();
    g.import_graph_def(def.clone(), &ImportOptions::default())?;
    Ok((g, def))
}

const UNKNOWN: &str = r#"
node { name: "x" op: "Placeholder" attr { key: "dtype" value { type: DT_FLOAT } } }
node { name: "mystery" op: "FancyNewOp" input: "x" device: "/job:worker/replica:0/task:1/device:TPU:3"
  attr { key: "mode" value { s: "fast" } } attr { key: "sizes" value { list { i: 1 i: -2 } } } }
node { name: "other" op: "OlderOp" input: "mystery:1" input: "^x" }
node { name: "sum" op: "AddV2" input: "mystery" input: "other" attr { key: "T" value { type: DT_FLOAT } } }
node { name: "end" op: "Identity" input: "sum" attr { key: "T" value { type: DT_FLOAT } } }
node { name: "square" op: "Mul" input: "x" input: "x" attr { key: "T" value { type: DT_FLOAT } } }
node { name: "waits" op: "NoOp" input: "^other" }
versions { producer: 2222 min_consumer: 12 }
"#;

#[test]
fn unknown_ops_stand_in_nobodys_way() -> Result<()> {
    let (g, def) = import(UNKNOWN)?;
    assert_eq!(g.as_graph_def().node, def.node);
    assert_eq!(g.as_graph_def().versions, def.versions);
    let session = Session::new(&g);
    let three = Tensor::scalar(3f32);
    assert_eq!(session.run_named(&["square:0"], &[("x:0", &three)])?[0].to_string(), "f32 9");
    let error = session.run_named(&["end:0"], &[("x:0", &three)]).unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
    for part in [
        "Op type not registered 'FancyNewOp', needed by way of mystery -> ",
        "Op type not registered 'OlderOp', needed by way of other -> sum -> end",
    ] {
        assert!(error.to_string().contains(part), "{error}");
    }
    let fed = session.run_named(&["end:0"], &[("mystery:0", &three), ("other:0", &Tensor::scalar(4f32))])?;
    assert_eq!(fed[0].to_string(), "f32 7");
    let waits = g.get_operation_by_name("waits")?;
    assert!(session.run_targets(&[waits], &[]).unwrap_err().to_string().contains("other -> waits"));
    Ok(())
}

#[test]
fn attributes_of_other_versions() -> Result<()> {
    let text = r#"
node { name: "a" op: "Const" attr { key: "dtype" value { type: DT_FLOAT } }
  attr { key: "value" value { tensor { dtype: DT_FLOAT tensor_shape { dim { size: 1 } dim { size: 2 } } float_val: 1 float_val: 2 } } } }
node { name: "newer" op: "MatMul" input: "a" input: "a" attr { key: "T" value { type: DT_FLOAT } }
  attr { key: "transpose_b" value { b: true } } attr { key: "precision_of_tomorrow" value { s: "high" } }
  experimental_debug_info { original_node_names: "before" } }
node { name: "older" op: "AvgPool" input: "image" attr { key: "T" value { type: DT_FLOAT } }
  attr { key: "ksize" value { list { i: 1 i: 1 i: 2 i: 1 } } } attr { key: "strides" value { list { i: 1 i: 1 i: 1 i: 1 } } }
  attr { key: "padding" value { s: "VALID" } } }
node { name: "shape" op: "Const" attr { key: "dtype" value { type: DT_INT32 } }
  attr { key: "value" value { tensor { dtype: DT_INT32 tensor_shape { dim { size: 4 } } int_val: 1 int_val: 1 int_val: 2 int_val: 1 } } } }
node { name: "image" op: "Reshape" input: "a" input: "shape" attr { key: "T" value { type: DT_FLOAT } } }
"#;
    let (g, def) = import(text)?;
    assert_eq!(g.as_graph_def().node, def.node);
    let out = Session::new(&g).run_named(&["newer:0", "older:0"], &[])?;
    assert_eq!((out[0].to_string(), out[1].to_string()), ("f32[[5]]".into(), "f32[[[[1.5]]]]".into()));
    Ok(())
}

#[test]
fn spellings_of_early_versions() -> Result<()> {
    let number = |name: &str, value: &str| {
        format!(
            r#"node {{ name: "{name}" op: "Const" attr {{ key: "dtype" value {{ type: DT_FLOAT }} }}
  attr {{ key: "value" value {{ tensor {{ dtype: DT_FLOAT tensor_shape {{ }} float_val: {value} }} }} }} }}"#
        )
    };
    let float = r#"attr { key: "T" value { type: DT_FLOAT } }"#;
    let text = format!(
        r#"{two} {three}
node {{ name: "v" op: "Variable" attr {{ key: "dtype" value {{ type: DT_FLOAT }} }} attr {{ key: "shape" value {{ shape {{ }} }} }}
  attr {{ key: "container" value {{ s: "" }} }} attr {{ key: "shared_name" value {{ s: "" }} }} }}
node {{ name: "assign" op: "Assign" input: "v" input: "two" {float} attr {{ key: "use_locking" value {{ b: true }} }}
  attr {{ key: "validate_shape" value {{ b: true }} }} }}
node {{ name: "add" op: "Add" input: "v" input: "three" {float} }}
node {{ name: "yes" op: "Const" attr {{ key: "dtype" value {{ type: DT_BOOL }} }}
  attr {{ key: "value" value {{ tensor {{ dtype: DT_BOOL tensor_shape {{ }} bool_val: true }} }} }} }}
node {{ name: "switch" op: "RefSwitch" input: "v" input: "yes" {float} }}
node {{ name: "raised" op: "AssignAdd" input: "switch:1" input: "three" {float} }}
node {{ name: "no" op: "RefIdentity" input: "switch" {float} }}
node {{ name: "merge" op: "RefMerge" input: "no" input: "raised" {float} attr {{ key: "N" value {{ i: 2 }} }} }}
node {{ name: "result" op: "Identity" input: "merge" {float} }}
node {{ name: "dims" op: "Const" attr {{ key: "dtype" value {{ type: DT_INT32 }} }}
  attr {{ key: "value" value {{ tensor {{ dtype: DT_INT32 tensor_shape {{ dim {{ size: 3 }} }} int_val: 1 }} }} }} }}
node {{ name: "cube" op: "Fill" input: "dims" input: "three" {float} }}
node {{ name: "product" op: "BatchMatMul" input: "cube" input: "cube" {float} attr {{ key: "adj_x" value {{ b: true }} }} }}
node {{ name: "joined" op: "Concat" input: "axis" input: "cube" input: "product" attr {{ key: "N" value {{ i: 2 }} }} {float} }}
node {{ name: "axis" op: "Const" attr {{ key: "dtype" value {{ type: DT_INT32 }} }}
  attr {{ key: "value" value {{ tensor {{ dtype: DT_INT32 tensor_shape {{ }} int_val: 2 }} }} }} }}
node {{ name: "free" op: "Placeholder" attr {{ key: "dtype" value {{ type: DT_FLOAT }} }} attr {{ key: "shape" value {{ shape {{ }} }} }} }}
versions {{ producer: 8 }}"#,
        two = number("two", "2"),
        three = number("three", "3"),
    );
    let (g, _) = import(&text)?;
    let session = Session::new(&g);
    session.run_targets(&[g.get_operation_by_name("assign")?], &[])?;
    let out = session.run_named(&["add:0", "joined:0"], &[])?;
    assert_eq!((out[0].to_string(), out[1].to_string()), ("f32 5".into(), "f32[[[3 9]]]".into()));
    assert_eq!(session.run_named(&["result:0"], &[])?[0].to_string(), "f32 5");
    // Before producer 22 an empty shape said nothing.
    let free = g.get_tensor_by_name("free:0")?;
    assert_eq!(g.shape(free)?.rank(), None);
    Ok(())
}

#[test]
fn text_and_binary_are_the_same() -> Result<()> {
    let bytes = std::fs::read(path("graph.pb")).unwrap();
    let binary = GraphDef::decode(bytes.as_slice()).unwrap();
    let written = std::fs::read_to_string(path("graph.pbtxt")).unwrap();
    let read: GraphDef = text::parse(&written)?;
    assert_eq!(read, binary);
    let again: GraphDef = text::parse(&text::print(&binary))?;
    assert_eq!(again, binary);
    assert_eq!(text::print(&binary), written);
    assert_eq!(read_meta_graph(path("meta.pbtxt"))?, read_meta_graph(path("meta.pb"))?);
    Ok(())
}

#[test]
fn a_foreign_graph_runs_and_is_exported_unchanged() -> Result<()> {
    let binary = GraphDef::decode(std::fs::read(path("graph.pb")).unwrap().as_slice()).unwrap();
    let g = Graph::new();
    g.import_graph_def(binary.clone(), &ImportOptions::default())?;
    let exported = g.as_graph_def();
    assert_eq!((&exported.node, &exported.versions), (&binary.node, &binary.versions));
    assert_eq!(exported.library, binary.library);
    let session = Session::new(&g);
    session.run_targets(&[g.get_operation_by_name("w/Assign")?], &[])?;
    let x: Tensor = "f32[[1 -1]]".parse()?;
    let out = session.run_named(&["z:0", "total:0", "odd:0", "strings:0"], &[("x:0", &x)])?;
    assert_eq!(out[0].to_string(), "f32[[-2 -2] [-4 -4]]");
    assert_eq!(out[1].to_string(), "f32 -36");
    assert!(out[2].as_slice::<f32>()?[0].is_nan() && out[2].as_slice::<f32>()?[3].is_sign_negative());
    assert_eq!(&out[3].strings()?[0][..], b"a\"b'\\\n\t\x00\xff");
    Ok(())
}

#[test]
fn meta_graphs_keep_their_collections() -> Result<()> {
    for file in ["meta.pb", "meta.pbtxt"] {
        let g = Graph::new();
        import_meta_graph(&g, path(file))?;
        let theirs = read_meta_graph(path(file))?;
        let ours: MetaGraphDef = metagraph::train::export_meta_graph(&g, None, &Default::default())?;
        assert_eq!(ours.collection_def, theirs.collection_def, "{file}");
        // Shapes are written anew.
        let plain = |mut def: GraphDef| {
            def.node.iter_mut().for_each(|n| drop(n.attr.remove("_output_shapes")));
            def.node
        };
        let (ours, theirs) = (plain(ours.graph_def.unwrap()), plain(theirs.graph_def.unwrap()));
        // A saver comes after them, since the file has none.
        assert!(ours.len() > theirs.len(), "{file}");
        for (own, other) in ours.iter().zip(&theirs) {
            assert_eq!(own, other, "{file}");
        }
        assert_eq!(g.global_variables().len(), 1);
    }
    Ok(())
}

const SHUFFLED: &str = r#"
node { name: "layer/Sum" op: "AddV2" input: "layer/b" input: "a" input: "^z" attr { key: "T" value { type: DT_FLOAT } } }
node { name: "layer/b" op: "Mul" input: "a" input: "a" attr { key: "T" value { type: DT_FLOAT } } }
node { name: "z" op: "NoOp" input: "^a" }
node { name: "a" op: "Const" attr { key: "dtype" value { type: DT_FLOAT } }
  attr { key: "value" value { tensor { dtype: DT_FLOAT tensor_shape { } float_val: 3 } } } }
versions { producer: 1645 }
"#;

/// Nodes may stand before those that they need, and their names are taken, whatever the case, as are their scopes'.
#[test]
fn nodes_in_any_order() -> Result<()> {
    let (g, def) = import(SHUFFLED)?;
    assert_eq!(g.as_graph_def().node, def.node);
    assert_eq!(Session::new(&g).run_named(&["layer/Sum:0"], &[])?[0].to_string(), "f32 12");
    let names = ["LAYER", "layer/sum", "b", "layer/c", "a"].map(|name| g.unique_name(name));
    assert_eq!(names, ["LAYER_1", "layer/sum_1", "b", "layer/c", "a_1"]);
    g.import_graph_def(def, &ImportOptions { prefix: Some("again".into()), ..Default::default() })?;
    assert_eq!(Session::new(&g).run_named(&["again/layer/Sum:0"], &[])?[0].to_string(), "f32 12");
    assert_eq!(["again", "again/Z"].map(|name| g.unique_name(name)), ["again_1", "again/Z_1"]);
    Ok(())
}

/// A graph is what it was after an import that fails.
#[test]
fn a_refused_import_leaves_nothing() -> Result<()> {
    let (g, def) = import(SHUFFLED)?;
    for (text, expected) in [
        (r#"node { name: "n" op: "NoOp" } node { name: "a" op: "NoOp" }"#, "Node name 'a' already exists in the Graph"),
        (r#"node { name: "n" op: "NoOp" } node { name: "n" op: "NoOp" }"#, "Node name 'n' already exists in the Graph"),
        (r#"node { name: "n" op: "NoOp" input: "^m" }"#, "input 'm' refers to a node that isn't in the graph"),
        (r#"node { name: "n" op: "NoOp" input: "a:1" }"#, "names an output that node 'a' of op Const doesn't have"),
        (r#"node { name: "n" op: "NoOp" } node { op: "NoOp" }"#, "Node name or op is empty"),
    ] {
        let error = g.import_graph_def(text::parse(text)?, &ImportOptions::default()).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(g.as_graph_def().node, def.node);
    }
    assert_eq!(g.unique_name("n"), "n");
    Ok(())
}
