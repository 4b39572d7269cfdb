//! Gradients through graphs that came without contexts, against the values that TensorFlow gave where it built the graph
//! itself: `gradients/make.py` wrote them.

use base64::Engine;
use metagraph::graph::ImportOptions;
use metagraph::{Error, Gradient, Graph, Output, Result, Session, Tensor, proto};
use prost::Message;
use serde_json::Value;

fn numbers(value: &Value) -> Vec<f32> {
    value.as_array().into_iter().flatten().map(|v| v.as_f64().unwrap() as f32).collect()
}

fn gradients(case: &Value) -> Result<Vec<Tensor>> {
    let bytes = base64::engine::general_purpose::STANDARD.decode(case["graph"].as_str().unwrap()).unwrap();
    let g = Graph::new();
    g.import_graph_def(proto::GraphDef::decode(&bytes[..]).unwrap(), &ImportOptions::default())?;
    let session = Session::new(&g);
    for (name, values) in case["variables"].as_object().unwrap() {
        let assign = g.get_operation_by_name(&format!("{name}/Assign"))?;
        let initial = g.input(assign, 1)?;
        let dims = g.shape(initial)?.to_dims().unwrap();
        session.run_with_targets(&[], &[assign], &[(initial, &Tensor::new(&dims, numbers(values))?)])?;
    }
    let xs = case["xs"].as_array().unwrap();
    let xs: Vec<Output> = xs.iter().map(|x| g.get_tensor_by_name(x.as_str().unwrap())).collect::<Result<_>>()?;
    let y = g.get_tensor_by_name("y:0")?;
    let y = g.op("Sin").input(y).output()?;
    let mut found = Vec::new();
    for gradient in g.gradients(&[y], &xs, &Default::default())? {
        found.push(match gradient {
            Some(Gradient::Dense(output)) => output,
            Some(Gradient::Sparse(slices)) => metagraph::ops::densify(&g, &slices)?,
            None => return Err(Error::invalid_argument("no gradient")),
        });
    }
    session.run(&found, &[])
}

#[test]
fn imported_graphs_have_the_gradients_of_their_builders() {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/gradients/imported.json")).unwrap();
    let cases: Value = serde_json::from_str(&text).unwrap();
    let mut wrong = Vec::new();
    for case in cases.as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        match gradients(case) {
            Err(error) => wrong.push(format!("{name}: {error}")),
            Ok(found) => {
                for (index, expected) in case["gradients"].as_array().unwrap().iter().enumerate() {
                    let (expected, got) = (numbers(expected), found[index].as_slice::<f32>().unwrap());
                    let near = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-5 + 1e-4 * b.abs();
                    if got.len() != expected.len() || !got.iter().zip(&expected).all(near) {
                        wrong.push(format!("{name}: gradient {index} is {got:?}, expected {expected:?}"));
                    }
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
