//! Files that TensorFlow 2.15 wrote, by `tests/fixtures/bundle/make.py`.

use super::{TestDir, fixture};
use crate::bundle::ordered_code::encode_tensor_name_slice;
use crate::bundle::table::Table;
use crate::bundle::{
    BundleReader, BundleWriter, CheckpointReader, MergeOptions, TensorSlice, TensorSliceReader, TensorSliceWriter, data_filename,
    index_filename, merge_v2_checkpoints,
};
use crate::proto::{BundleEntryProto, SavedTensorSlices};
use crate::tensor::{DType, Shape, Tensor};
use prost::Message;
use std::fs;
use std::path::Path;

fn assert_same_file(ours: &Path, theirs: &Path) {
    let (ours, theirs) = (fs::read(ours).unwrap(), fs::read(theirs).unwrap());
    let first = ours.iter().zip(&theirs).position(|(a, b)| a != b);
    assert!(ours == theirs, "{} and {} bytes, first difference at {first:?}", ours.len(), theirs.len());
}

#[test]
fn rewritten_v2_checkpoints_are_tensorflows() {
    let dir = TestDir::new();
    for name in ["all", "slices", "part-0", "part-1", "saver/model-2"] {
        let theirs = fixture(name);
        let reader = BundleReader::open(&theirs).unwrap();
        // Tensors and slices in the order in which they were saved.
        let mut saved: Vec<(u64, usize, String, Option<TensorSlice>)> = Vec::new();
        let entries: Vec<_> = Table::open(index_filename(&theirs)).unwrap().entries().unwrap();
        let entry = |key: &[u8]| {
            let (_, value) = entries.iter().find(|(k, _)| **k == *key).unwrap();
            BundleEntryProto::decode(value.clone()).unwrap()
        };
        for (i, name) in reader.variables().unwrap().into_keys().enumerate() {
            let slices = reader.slices(&name).unwrap();
            if slices.is_empty() {
                saved.push((entry(name.as_bytes()).offset as u64, i, name.clone(), None));
            }
            for slice in slices {
                let key = encode_tensor_name_slice(&name, &slice);
                saved.push((entry(&key).offset as u64, i, name.clone(), Some(slice)));
            }
        }
        saved.sort();
        let ours = dir.path("ours");
        let mut writer = BundleWriter::new(&ours).unwrap();
        for (_, _, name, slice) in saved {
            match slice {
                None => writer.add(&name, &reader.read(&name).unwrap()).unwrap(),
                Some(slice) => {
                    let (_, dims) = reader.dtype_and_dims(&name).unwrap();
                    let tensor = reader.read_slice(&name, &slice).unwrap();
                    writer.add_slice(&name, &dims, &slice, &tensor).unwrap();
                }
            }
        }
        writer.finish().unwrap();
        assert_same_file(&index_filename(&ours), &index_filename(&theirs));
        assert_same_file(&data_filename(&ours, 0, 1), &data_filename(&theirs, 0, 1));
    }
}

#[test]
fn an_index_of_several_blocks_is_tensorflows() {
    let dir = TestDir::new();
    let mut writer = BundleWriter::new(dir.path("many")).unwrap();
    for i in 0..20000 {
        writer.add(&format!("layer_{:05}/{}{}", i / 10, "long_".repeat(20), i % 10), &Tensor::scalar(i)).unwrap();
    }
    writer.finish().unwrap();
    let sums = ["many.index", "many.data-00000-of-00001"].map(|name| {
        let bytes = fs::read(dir.path(name)).unwrap();
        let mut crc = flate2::Crc::new();
        crc.update(&bytes);
        format!("{} {}", bytes.len(), crc.sum())
    });
    assert_eq!(sums.join(" "), fs::read_to_string(fixture("many.txt")).unwrap().trim());
    let reader = BundleReader::open(dir.path("many")).unwrap();
    assert_eq!(reader.variables().unwrap().len(), 20000);
    assert_eq!(reader.read(&format!("layer_01234/{}5", "long_".repeat(20))).unwrap(), Tensor::scalar(12345));
    let table = Table::open(dir.path("many.index")).unwrap();
    for (key, value) in table.entries().unwrap().iter().step_by(997) {
        assert_eq!(table.get(key).unwrap().as_ref(), Some(value));
    }
    assert_eq!(table.get(b"layer_02000").unwrap(), None);
}

/// Names of `make.py` and their values: 0, 1, 2, ... and for signed types the same less 2.
const VALUES: &[(&str, &str)] = &[
    ("float32", "f32[[-2 -1 0] [1 2 3]]"),
    ("scalar/float64", "f64 -2"),
    ("int32", "i32[[-2 -1 0] [1 2 3]]"),
    ("uint8", "u8[[0 1 2] [3 4 5]]"),
    ("int8", "i8[[-2 -1 0] [1 2 3]]"),
    ("complex64", "c64[[-2:0 -1:0 0:0] [1:0 2:0 3:0]]"),
    ("bool", "bool[[false true true] [true true true]]"),
    ("float16", "f16[[-2 -1 0] [1 2 3]]"),
    ("qint8", "qi8[[-2 -1 0] [1 2 3]]"),
    ("quint8", "qu8[[0 1 2] [3 4 5]]"),
    ("qint32", "qi32[[-2 -1 0] [1 2 3]]"),
    ("empty", "f32{0,4}[]"),
    ("empty/string", "str{3,0}[]"),
    ("scalar/string", "str \"one\""),
];

const V2_VALUES: &[(&str, &str)] = &[
    ("bfloat16", "bf16[[-2 -1 0] [1 2 3]]"),
    ("uint64", "u64[[0 1 2] [3 4 5]]"),
    ("qint16", "qi16[[-2 -1 0] [1 2 3]]"),
    ("quint16", "qu16[[0 1 2] [3 4 5]]"),
    ("int4", "i4[[-2 -1 0] [1 2 3]]"),
];

fn check_values(reader: &CheckpointReader, values: &[(&str, &str)]) {
    for (name, expected) in values {
        assert_eq!(reader.read(name).unwrap().to_string(), *expected, "{name}");
    }
    let strings = reader.read("string").unwrap();
    let expected = ["a".as_bytes(), b"", "\u{e9}\0\n".as_bytes(), &[b'x'; 200]];
    assert_eq!(strings.strings().unwrap(), expected);
}

#[test]
fn values_of_both_versions() {
    let v2 = CheckpointReader::open(fixture("all")).unwrap();
    let v1 = CheckpointReader::open(fixture("v1")).unwrap();
    check_values(&v2, VALUES);
    check_values(&v2, V2_VALUES);
    check_values(&v1, VALUES);
    let variables = v1.variables().unwrap();
    assert!(variables.len() > 25);
    for (name, (dtype, shape)) in variables {
        assert_eq!(v1.read(&name).unwrap(), v2.read(&name).unwrap(), "{name}");
        assert_eq!(v2.variables().unwrap()[&name], (dtype, shape));
        assert!(v1.has(&name) && v2.has(&name));
    }
    for name in ["float32", "string", "float16", "complex128"] {
        let slice = TensorSlice::parse("1,1:0,2").unwrap();
        if name != "string" {
            assert_eq!(v1.read_slice(name, &slice).unwrap(), v2.read_slice(name, &slice).unwrap());
        }
        let row = TensorSlice::parse("1,1:-").unwrap();
        let expected = v2.read(name).unwrap().rows(1, 1).unwrap();
        assert_eq!([v1.read_slice(name, &row).unwrap(), v2.read_slice(name, &row).unwrap()], [expected.clone(), expected]);
    }
}

#[test]
fn partitioned_tensors_are_assembled() {
    let w = Tensor::new(&[10, 8], (0..80).map(|i| i as f32 - 2.0).collect()).unwrap();
    let v = Tensor::new(&[4, 300], (0..1200).map(|i| i - 2).collect::<Vec<i64>>()).unwrap();
    let slices = CheckpointReader::open(fixture("slices")).unwrap();
    let merged = CheckpointReader::open(fixture("merged")).unwrap();
    let v1 = CheckpointReader::open(fixture("v1s-?????-of-00002")).unwrap();
    for reader in [&slices, &merged, &v1] {
        assert_eq!(reader.read("w").unwrap(), w);
        assert_eq!(reader.read("b").unwrap().to_string(), "f32[1 1]");
        let rows = reader.read_slice("w", &TensorSlice::parse("3,6:-").unwrap()).unwrap();
        assert_eq!(rows, w.rows(3, 6).unwrap());
        assert_eq!(reader.variables().unwrap()["w"], (DType::Float, Shape::from([10, 8])));
    }
    assert_eq!(slices.read("v").unwrap(), v);
    assert_eq!(slices.read("x\u{e9}/y").unwrap(), w);
    let corner = slices.read_slice("v", &TensorSlice::parse("1,2:99,2").unwrap()).unwrap();
    assert_eq!(corner.to_string(), "i64[[397 398] [697 698]]");
    assert_eq!(slices.variables().unwrap().into_keys().collect::<Vec<_>>(), ["b", "u", "v", "w", "x\u{e9}/y"]);
    assert_eq!(merged.variables().unwrap().into_keys().collect::<Vec<_>>(), ["a", "b", "w"]);
    assert_eq!(v1.read("s").unwrap().to_string(), "str[\"a\" \"b\" \"c\" \"d\"]");
    assert_eq!(v1.read_slice("s", &TensorSlice::parse("0,2").unwrap()).unwrap().to_string(), "str[\"a\" \"b\"]");
    assert_eq!(v1.read_slice("s", &TensorSlice::parse("2,1").unwrap()).unwrap().to_string(), "str[\"c\"]");
}

#[test]
fn merging_gives_tensorflows_files() {
    let dir = TestDir::new();
    for part in ["part-0", "part-1"] {
        fs::create_dir(dir.path(part)).unwrap();
        for suffix in [".index", ".data-00000-of-00001"] {
            fs::copy(fixture(&format!("{part}{suffix}")), dir.path(&format!("{part}/{part}{suffix}"))).unwrap();
        }
    }
    let parts = [dir.path("part-0/part-0"), dir.path("part-1/part-1")];
    merge_v2_checkpoints(&parts, dir.path("merged"), MergeOptions::default()).unwrap();
    let files = ["merged.data-00000-of-00002", "merged.data-00001-of-00002", "merged.index"];
    assert_eq!(dir.names(), files);
    for file in files {
        assert_same_file(&dir.path(file), &fixture(file));
    }
}

#[test]
fn rewritten_v1_checkpoints_are_tensorflows() {
    let dir = TestDir::new();
    for name in ["v1", "v1s-00000-of-00002", "v1s-00001-of-00002"] {
        let theirs = fixture(name);
        let record = Table::open(&theirs).unwrap().get(b"").unwrap().unwrap();
        let meta = SavedTensorSlices::decode(record).unwrap().meta.unwrap();
        let reader = TensorSliceReader::open(theirs.to_str().unwrap()).unwrap();
        let mut writer = TensorSliceWriter::new(dir.path(name));
        for tensor in &meta.tensor {
            let (_, dims) = reader.dtype_and_dims(&tensor.name).unwrap();
            for slice in &tensor.slice {
                let slice = TensorSlice::from_message(slice).unwrap();
                let value = reader.read_slice(&tensor.name, &slice).unwrap();
                writer.add_slice(&tensor.name, &dims, &slice, &value).unwrap();
            }
        }
        writer.finish().unwrap();
        assert_same_file(&dir.path(name), &theirs);
    }
}

#[test]
fn a_saved_program_is_read() {
    for path in ["saver/model-2", "saver/model-2.index", "saver/model-2.data-00000-of-00001", "saver/model-2.data-?????-of-?????"]
    {
        let reader = CheckpointReader::open(fixture(path)).unwrap();
        let variables = reader.variables().unwrap();
        let names = variables.iter().map(|(n, (d, s))| format!("{n} {d} {s}"));
        let expected = [
            "beta1_power float32 []",
            "beta2_power float32 []",
            "dense/b float32 [3]",
            "dense/b/Adam float32 [3]",
            "dense/b/Adam_1 float32 [3]",
            "dense/w float32 [5,3]",
            "dense/w/Adam float32 [5,3]",
            "dense/w/Adam_1 float32 [5,3]",
            "global_step int64 []",
            "part float32 [7,2]",
            "part/Adam float32 [7,2]",
            "part/Adam_1 float32 [7,2]",
        ];
        assert_eq!(names.collect::<Vec<_>>(), expected);
        assert_eq!(reader.read("global_step").unwrap().to_string(), "i64 2");
        let beta = reader.read("beta1_power").unwrap().item::<f32>().unwrap();
        assert!((beta - 0.729).abs() < 1e-6);
    }
    let sharded = ["v1s", "v1s-?????-of-00002"].map(|p| CheckpointReader::open(fixture(p)).unwrap().variables().unwrap().len());
    assert_eq!(sharded, [3, 3]);
    assert_eq!(CheckpointReader::open(fixture("v1s-00001-of-00002")).unwrap().variables().unwrap().len(), 2);
}
