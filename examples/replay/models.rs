//! Published models: a folder with `case.json`, feeds and the values that TensorFlow gives.

use base64::Engine;
use metagraph::graph::ImportOptions;
use metagraph::saved_model::SavedModelBundle;
use metagraph::{DType, Graph, Session, Tensor, numpy, proto};
use prost::Message;
use serde_json::Value;
use std::path::PathBuf;

/// A model folder.
#[derive(Clone)]
pub struct Model {
    pub folder: PathBuf,
    pub case: Value,
    pub how: super::How,
}

impl Model {
    /// Runs one run from the restored state.
    pub fn run_one(&self, index: usize) -> Result<(), String> {
        let session = self.open()?;
        self.run(&session, &self.case["runs"][index])
    }

    /// Runs all runs; stateful ones follow one another in one session.
    pub fn run_all(&self) -> Result<(), String> {
        let stateful = self.open()?;
        for run in self.case["runs"].as_array().into_iter().flatten() {
            let fresh;
            let session = match run["stateful"] == true {
                true => &stateful,
                false => {
                    fresh = self.open()?;
                    &fresh
                }
            };
            self.run(session, run).map_err(|e| format!("run {}: {e}", run["id"]))?;
        }
        Ok(())
    }

    fn text(&self, key: &str) -> Result<&str, String> {
        self.case[key].as_str().ok_or(format!("case.json has no {key}"))
    }

    /// The model in a session, restored.
    fn open(&self) -> Result<Session, String> {
        let say = |e: metagraph::Error| e.to_string();
        let graph = Graph::new();
        match self.text("kind")? {
            "frozen_graphdef" => {
                let bytes = std::fs::read(self.folder.join(self.text("graph")?)).map_err(|e| e.to_string())?;
                let def = proto::GraphDef::decode(bytes.as_slice()).map_err(|e| e.to_string())?;
                graph.import_graph_def(def, &ImportOptions::default()).map_err(say)?;
                Ok(self.how.open(&graph))
            }
            "metagraph_ckpt" => {
                let bytes = std::fs::read(self.folder.join(self.text("graph")?)).map_err(|e| e.to_string())?;
                let meta = proto::MetaGraphDef::decode(bytes.as_slice()).map_err(|e| e.to_string())?;
                let def = meta.graph_def.ok_or("the MetaGraphDef has no graph")?;
                graph.import_graph_def(def, &ImportOptions::default()).map_err(say)?;
                let session = self.how.open(&graph);
                let prefix = format!("{}/{}", self.folder.display(), self.text("checkpoint_prefix")?);
                let saver = &self.case["saver"];
                let name = |key: &str| saver[key].as_str().ok_or(format!("case.json's saver has no {key}"));
                let restore = graph.get_operation_by_name(name("restore_op")?).map_err(say)?;
                let file = graph.get_tensor_by_name(name("filename_tensor")?).map_err(say)?;
                session.run_targets(&[restore], &[(file, &Tensor::from(prefix.as_str()))]).map_err(say)?;
                Ok(session)
            }
            "saved_model" => {
                let dir = self.folder.join(self.text("saved_model_dir")?);
                let tags: Vec<&str> = self.case["tags"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                Ok(SavedModelBundle::load(dir, &tags).map_err(say)?.into_session())
            }
            other => Err(format!("models of kind {other} can't be opened")),
        }
    }

    fn run(&self, session: &Session, run: &Value) -> Result<(), String> {
        let say = |e: metagraph::Error| e.to_string();
        let file = |key: &str| run[key].as_str().map(|f| self.folder.join(f));
        let graph = session.graph();
        let feeds = match file("feeds_file") {
            Some(path) if run["feeds"].as_array().is_some_and(|f| !f.is_empty()) => numpy::read_npz(path).map_err(say)?,
            _ => Default::default(),
        };
        let feeds = feeds
            .iter()
            .map(|(n, v)| Ok((graph.get_tensor_by_name(n)?, v)))
            .collect::<metagraph::Result<Vec<_>>>()
            .map_err(say)?;
        let fetches = run["fetches"].as_array().cloned().unwrap_or_default();
        let names: Vec<&str> = fetches.iter().filter_map(|f| f["name"].as_str()).collect();
        let outputs = names.iter().map(|n| graph.get_tensor_by_name(n)).collect::<metagraph::Result<Vec<_>>>().map_err(say)?;
        let targets: Vec<_> = run["targets"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let targets =
            targets.iter().map(|n| graph.get_operation_by_name(n)).collect::<metagraph::Result<Vec<_>>>().map_err(say)?;
        let (got, differences) = super::shapes::run(session, &outputs, &targets, &feeds, self.how.shapes);
        let got = got.map_err(say)?;
        if !differences.is_empty() {
            return Err(differences.join("; "));
        }
        let expected = match file("fetches_file") {
            Some(path) => numpy::read_npz(path).map_err(say)?,
            None => Default::default(),
        };
        for ((fetch, name), got) in fetches.iter().zip(names).zip(&got) {
            let stated = expected.get(name).ok_or(format!("{name} is not in the fetches file"))?;
            let wanted = strings(fetch)?.map_or(Ok(stated.clone()), |s| Tensor::from_strings(got.dims(), s).map_err(say))?;
            let tolerance = |key: &str| [&fetch[key], &run[key], &self.case[key]].iter().find_map(|v| v.as_f64()).unwrap_or(1e-5);
            compare(got, &wanted, tolerance("atol"), tolerance("rtol")).map_err(|e| format!("{name}: {e}"))?;
        }
        Ok(())
    }
}

fn strings(fetch: &Value) -> Result<Option<Vec<bytes::Bytes>>, String> {
    let Some(values) = fetch["values_b64"].as_array() else { return Ok(None) };
    let decode = |v: &Value| {
        let text = v.as_str().ok_or("a string is no base64 text")?;
        base64::engine::general_purpose::STANDARD.decode(text).map(bytes::Bytes::from).map_err(|e| e.to_string())
    };
    values.iter().map(decode).collect::<Result<_, String>>().map(Some)
}

fn compare(got: &Tensor, expected: &Tensor, atol: f64, rtol: f64) -> Result<(), String> {
    if matches!(got.dtype(), DType::Float | DType::Double | DType::Half)
        && got.dtype() == expected.dtype()
        && got.dims() == expected.dims()
    {
        return super::compare_floats(got, expected, atol, rtol);
    }
    super::compare(got, expected)
}
