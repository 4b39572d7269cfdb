//! The `checkpoint` file.

use super::{TestDir, fixture};
use crate::bundle::state::*;
use crate::bundle::{BundleWriter, TensorSliceWriter};
use crate::error::Code;
use crate::tensor::Tensor;
use std::fs;
use std::path::Path;

fn golden(name: &str) -> String {
    fs::read_to_string(fixture("state").join(name)).unwrap()
}

#[test]
fn states_are_written_as_tensorflow_does() {
    let dir = TestDir::new();
    let base = dir.0.to_str().unwrap();
    let strings = |paths: &[&str]| paths.iter().map(|p| p.to_string()).collect::<Vec<_>>();
    let written = |save_dir: &Path, update: &CheckpointStateUpdate| {
        update_checkpoint_state(save_dir, update).unwrap();
        fs::read_to_string(save_dir.join(update.latest_filename.unwrap_or("checkpoint"))).unwrap()
    };
    let absolute = [format!("{base}/m-1"), format!("{base}/m-2")];
    let moved = CheckpointStateUpdate {
        model_checkpoint_path: &absolute[1],
        all_model_checkpoint_paths: &absolute,
        save_relative_paths: true,
        latest_filename: Some("moved"),
        ..Default::default()
    };
    assert_eq!(written(&dir.0, &moved), golden("moved"));
    let abs = strings(&["/abs/model-1"]);
    let other =
        CheckpointStateUpdate { model_checkpoint_path: "/abs/model-2", all_model_checkpoint_paths: &abs, ..Default::default() };
    assert_eq!(written(&dir.0, &other), golden("absolute"));

    // A relative directory: paths are to the working directory and become relative to it.
    let relative = Path::new("target").join(format!("state-{}", std::process::id()));
    fs::create_dir_all(&relative).unwrap();
    let under = |path: &str| relative.join(path).to_str().unwrap().to_string();
    let all = [under("model-1"), "target/other/model".into(), under("sub/model-2")];
    let update = CheckpointStateUpdate { model_checkpoint_path: &all[2], all_model_checkpoint_paths: &all, ..Default::default() };
    assert_eq!(written(&relative, &update), golden("relative"));
    let times = CheckpointStateUpdate {
        model_checkpoint_path: "target/a'\"\u{e9}\\ b",
        all_model_checkpoint_timestamps: &[1690000000.123456],
        last_preserved_timestamp: Some(1.5e-7),
        ..Default::default()
    };
    assert_eq!(written(&relative, &times), golden("times"));
    fs::remove_dir_all(&relative).unwrap();

    let bad = CheckpointStateUpdate { all_model_checkpoint_timestamps: &[1.0, 2.0], ..times.clone() };
    assert_eq!(update_checkpoint_state(&dir.0, &bad).unwrap_err().code(), Code::InvalidArgument);
    let own = format!("{base}/checkpoint");
    let conflict = CheckpointStateUpdate { model_checkpoint_path: &own, ..Default::default() };
    assert_eq!(update_checkpoint_state(&dir.0, &conflict).unwrap_err().code(), Code::FailedPrecondition);
    assert_eq!(dir.names(), ["checkpoint", "moved"]);
}

#[test]
fn states_are_read() {
    for name in ["relative", "absolute", "moved", "times"] {
        let state = parse_checkpoint_state(&golden(name)).unwrap();
        assert_eq!(format_checkpoint_state(&state), golden(name));
    }
    let state = parse_checkpoint_state("model_checkpoint_path: 'a' later: { x: 1 } model_checkpoint_path: 'b', n: 7").unwrap();
    assert_eq!(state.model_checkpoint_path, "b");
    for bad in ["model_checkpoint_path: 3", "last_preserved_timestamp: \"1\"", "last_preserved_timestamp: x", "x"] {
        assert_eq!(parse_checkpoint_state(bad).unwrap_err().code(), Code::InvalidArgument);
    }
    let dir = TestDir::new();
    let write = |text: &str| fs::write(dir.path("checkpoint"), text).unwrap();
    let get = || get_checkpoint_state(&dir.0, None);
    assert_eq!(get().unwrap(), None);
    write("model_checkpoint_path: \"x");
    assert_eq!(get().unwrap(), None);
    write("");
    assert_eq!(get().unwrap_err().code(), Code::InvalidArgument);
    write("model_checkpoint_path: \"x\" all_model_checkpoint_paths: [\"w\", \"/x\"]");
    let state = get().unwrap().unwrap();
    assert_eq!(Path::new(&state.model_checkpoint_path), dir.path("x"));
    assert_eq!(state.all_model_checkpoint_paths, [dir.path("w").to_str().unwrap(), "/x"]);
}

#[test]
fn the_latest_checkpoint_is_found_and_removed() {
    let dir = TestDir::new();
    let latest = || latest_checkpoint(&dir.0, None).unwrap();
    let path = |name: &str| dir.path(name).to_str().unwrap().to_string();
    let state = |path: &str| fs::write(dir.path("checkpoint"), format!("model_checkpoint_path: \"{path}\"")).unwrap();
    assert_eq!(latest(), None);
    state("model-1");
    assert_eq!(latest(), None);
    let save_v2 = |prefix: &str| {
        let mut writer = BundleWriter::new(prefix).unwrap();
        writer.add("a", &Tensor::scalar(1)).unwrap();
        writer.finish().unwrap();
    };
    save_v2(&path("model-1"));
    assert_eq!(latest(), Some(path("model-1")));
    state("/moved/from/elsewhere/model-1");
    assert_eq!(latest(), Some(path("model-1")));
    state("/moved/from/elsewhere/model-2");
    assert_eq!(latest(), None);
    let mut v1 = TensorSliceWriter::new(dir.path("old-00000-of-00001"));
    v1.add("a", &Tensor::scalar(1)).unwrap();
    v1.finish().unwrap();
    state("old-?????-of-00001");
    assert_eq!(latest(), Some(path("old-?????-of-00001")));
    assert!(checkpoint_exists(&path("model-1")) && !checkpoint_exists(&path("model-2")));
    let mtimes = get_checkpoint_mtimes(&[path("model-1"), path("model-2"), path("old-?????-of-00001")]);
    assert!(mtimes.len() == 2 && mtimes.iter().all(|&t| t > 1.6e9));
    for prefix in ["model-1", "old-?????-of-00001", "model-2"] {
        remove_checkpoint(&path(prefix)).unwrap();
    }
    assert_eq!(dir.names(), ["checkpoint"]);
}

#[test]
fn meta_graphs_stand_beside_checkpoints() {
    let table = [
        ("model.ckpt-7", "model.ckpt-7.meta"),
        ("model.ckpt-7-?????-of-00005", "model.ckpt-7.meta"),
        ("d/model-00001-of-00002", "d/model.meta"),
        ("model-x-of-00002", "model-x-of-00002.meta"),
        ("model-of-2", "model-of-2.meta"),
        ("model-1-of-?", "model-1-of-?.meta"),
    ];
    for (checkpoint, expected) in table {
        assert_eq!(meta_graph_filename(checkpoint, "meta"), expected);
    }
}
