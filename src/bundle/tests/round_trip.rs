//! What is written is read again, and a save that doesn't end leaves what there was.

use super::{TestDir, noise, savable};
use crate::bundle::table::{Compression, Table, TableWriter};
use crate::bundle::{
    BundleReader, BundleWriter, BundleWriterOptions, MergeOptions, TensorSlice, TensorSliceReader, TensorSliceWriter,
    merge_v2_checkpoints,
};
use crate::error::Code;
use crate::tensor::{DType, ResourceHandle, Tensor};
use bytes::Bytes;
use std::fs;

#[test]
fn every_dtype_and_shape() {
    let dir = TestDir::new();
    let shapes: [&[usize]; 6] = [&[], &[0], &[1], &[7], &[3, 0, 2], &[2, 3, 5]];
    for (data_alignment, sync) in [(1, false), (64, true)] {
        let options = BundleWriterOptions { data_alignment, sync };
        let mut writer = BundleWriter::with_options(dir.path("m"), options).unwrap();
        let mut tensors = Vec::new();
        for dtype in savable() {
            for dims in shapes {
                tensors.push((format!("{dtype}{dims:?}"), noise(dtype, dims, tensors.len() as u64)));
            }
        }
        for (name, tensor) in &tensors {
            writer.add(name, tensor).unwrap();
        }
        writer.finish().unwrap();
        let reader = BundleReader::open(dir.path("m")).unwrap();
        assert_eq!(reader.variables().unwrap().len(), tensors.len());
        for (name, tensor) in &tensors {
            assert_eq!(&reader.read(name).unwrap(), tensor, "{name}");
            assert_eq!(reader.dtype_and_dims(name).unwrap(), (tensor.dtype(), tensor.dims().into()));
        }
        let size = fs::metadata(dir.path("m.data-00000-of-00001")).unwrap().len();
        assert_eq!(size % data_alignment, 0);
    }
}

#[test]
fn large_tensors() {
    let dir = TestDir::new();
    let tensors = [
        ("small", noise(DType::Int8, &[1000], 1)),
        ("float", noise(DType::Float, &[1234, 1999], 2)),
        ("odd", noise(DType::Uint8, &[(5 << 20) + 13], 3)),
        ("text", Tensor::from_strings(&[2], vec![Bytes::from(vec![b'a'; 3 << 20]), Bytes::from_static(b"b")]).unwrap()),
        ("texts", noise(DType::String, &[5000], 4)),
        ("end", noise(DType::Double, &[40000], 5)),
    ];
    let mut writer = BundleWriter::new(dir.path("m")).unwrap();
    for (name, tensor) in &tensors {
        writer.add(name, tensor).unwrap();
    }
    writer.finish().unwrap();
    let reader = BundleReader::open(dir.path("m")).unwrap();
    for (name, tensor) in &tensors {
        assert!(reader.read(name).unwrap() == *tensor, "{name}");
    }
    let columns = reader.read_slice("float", &TensorSlice::parse("1,1200:500,3").unwrap()).unwrap();
    let whole = tensors[1].1.bytes().unwrap();
    for i in 0..1200 {
        let at = ((i + 1) * 1999 + 500) * 4;
        assert_eq!(columns.bytes().unwrap()[i * 12..][..12], whole[at..at + 12]);
    }
}

/// The elements of a slice, picked one by one.
fn pick(tensor: &Tensor, slice: &TensorSlice) -> Tensor {
    let dims = slice.slice_dims(tensor.dims()).unwrap();
    let width = tensor.dtype().size();
    let (mut bytes, mut strings) = (Vec::new(), Vec::new());
    for element in 0..tensor.len() {
        let mut rest = element;
        let inside = (0..tensor.rank()).rev().all(|d| {
            let index = rest % tensor.dims()[d];
            rest /= tensor.dims()[d];
            slice.extent(d).is_none_or(|(start, n)| (start..start + n).contains(&index))
        });
        match tensor.strings() {
            Ok(all) if inside => strings.push(all[element].clone()),
            Err(_) if inside => bytes.extend_from_slice(&tensor.bytes().unwrap()[element * width..][..width]),
            _ => {}
        }
    }
    match tensor.dtype() {
        DType::String => Tensor::from_strings(&dims, strings).unwrap(),
        dtype => Tensor::from_le_bytes(dtype, &dims, &bytes).unwrap(),
    }
}

#[test]
fn any_slice_of_any_partition() {
    let dir = TestDir::new();
    let dims = [4, 6, 3];
    let partitions: [&[&str]; 5] = [
        &["-:-:-"],
        &["0,1:-:-", "1,3:-:-"],
        &["-:4,2:-", "-:0,4:-"],
        &["0,2:0,3:-", "0,2:3,3:-", "2,2:-:0,1", "2,2:-:1,2"],
        &["0,4:0,6:0,1", "0,4:0,6:1,1", "-:-:2,1"],
    ];
    let wanted = ["-:-:-", "0,4:0,6:0,3", "1,2:-:-", "3,1:5,1:2,1", "-:2,3:-", "-:-:1,2", "1,3:1,4:0,2"];
    for dtype in [DType::Float, DType::Half, DType::Bool, DType::Complex128, DType::String] {
        let whole = noise(dtype, &dims, 9);
        for (i, partition) in partitions.iter().enumerate() {
            let prefix = dir.path(&format!("{dtype}-{i}"));
            let mut v2 = BundleWriter::new(&prefix).unwrap();
            let mut v1 = TensorSliceWriter::new(&prefix);
            for slice in partition.iter() {
                let slice = slice.parse().unwrap();
                v2.add_slice("w", &dims, &slice, &pick(&whole, &slice)).unwrap();
                v1.add_slice("w", &dims, &slice, &pick(&whole, &slice)).unwrap();
            }
            v2.finish().unwrap();
            v1.finish().unwrap();
            let v2 = BundleReader::open(&prefix).unwrap();
            let v1 = TensorSliceReader::open(prefix.to_str().unwrap()).unwrap();
            assert_eq!((&v2.read("w").unwrap(), &v1.read("w").unwrap()), (&whole, &whole), "{dtype} {partition:?}");
            for slice in wanted {
                let slice = slice.parse().unwrap();
                let expected = pick(&whole, &slice);
                assert_eq!(v2.read_slice("w", &slice).unwrap(), expected, "{dtype} {slice} of {partition:?}");
                assert_eq!(v1.read_slice("w", &slice).unwrap(), expected, "V1 {dtype} {slice} of {partition:?}");
            }
        }
    }
}

#[test]
fn wrong_calls_are_refused() {
    let dir = TestDir::new();
    let two = Tensor::vector(&[1f32, 2.0]);
    let mut writer = BundleWriter::new(dir.path("m")).unwrap();
    let slice = |s: &str| s.parse::<TensorSlice>().unwrap();
    writer.add("a", &two).unwrap();
    writer.add_slice("s", &[4], &slice("0,2"), &two).unwrap();
    let resource = Tensor::resource(ResourceHandle { container: "".into(), name: "v".into(), object: None });
    let variant = Tensor::zeros(DType::Variant, &[1]).unwrap();
    let ints = Tensor::vector(&[1i32, 2]);
    let check = |result: crate::Result<()>, code, part: &str| {
        let error = result.unwrap_err();
        assert!(error.code() == code && error.message().contains(part), "{error}");
    };
    use Code::*;
    check(writer.add("a", &two), InvalidArgument, "Adding duplicate key: a");
    check(writer.add("", &two), InvalidArgument, "can't be empty");
    check(writer.add("s", &two), InvalidArgument, "Adding duplicate key: s");
    check(writer.add("r", &resource), Unimplemented, "Saving data type resource not yet supported: r");
    check(writer.add("v", &variant), Unimplemented, "Saving data type variant not yet supported: v");
    check(writer.add_slice("a", &[4], &slice("0,2"), &two), InvalidArgument, "Adding duplicate key: a");
    check(writer.add_slice("s", &[4], &slice("0,2"), &two), InvalidArgument, "Adding duplicate key: ");
    check(writer.add_slice("s", &[5], &slice("2,2"), &two), InvalidArgument, "expected float32 of [4], got float32 of [5]");
    check(writer.add_slice("s", &[4], &slice("2,2"), &ints), InvalidArgument, "expected float32 of [4], got int32 of [4]");
    check(writer.add_slice("s", &[4], &slice("1,3"), &two), InvalidArgument, "4 1,3, tensor: [2]");
    check(writer.add_slice("s", &[4], &slice("3,2"), &two), Internal, "Extent in dimension 0 out of bounds");
    check(writer.add_slice("s", &[4], &slice("-:-"), &two), Internal, "Mismatching ranks");
    writer.add_slice("s", &[4], &slice("2,2"), &two).unwrap();
    writer.finish().unwrap();
    let reader = BundleReader::open(dir.path("m")).unwrap();
    assert_eq!(reader.read("s").unwrap().to_string(), "f32[1 2 1 2]");
    check(reader.read("zz").map(drop), NotFound, "Key zz not found in checkpoint");
    check(reader.read_slice("a", &slice("1,2")).map(drop), Internal, "Extent in dimension 0 out of bounds");
    let none = BundleReader::open(dir.path("none")).map(drop);
    check(none, NotFound, &format!("{}; No such file or directory", dir.path("none.index").display()));
    let missing = dir.path("no/such");
    check(BundleWriter::new(missing.join("m")).map(drop), NotFound, &format!("{}; No such", missing.display()));
    fs::write(dir.path("file"), "").unwrap();
    check(BundleWriter::new(dir.path("file/m")).map(drop), FailedPrecondition, "Not a directory");

    let mut v1 = TensorSliceWriter::new(dir.path("v1"));
    v1.add_slice("s", &[4], &slice("0,2"), &two).unwrap();
    check(v1.add_slice("s", &[5], &slice("2,2"), &two), Internal, "Mismatching shapes: existing tensor = [4]");
    check(v1.add_slice("s", &[4], &slice("2,2"), &ints), Internal, "Mismatching types: existing type = float32");
    check(v1.add("u", &Tensor::scalar(1u32)), InvalidArgument, "not implemented for dtype uint32");
    check(v1.add("v", &variant), Unimplemented, "Saving data type variant not yet supported");
    v1.finish().unwrap();
    let v1 = TensorSliceReader::open(dir.path("v1").to_str().unwrap()).unwrap();
    check(v1.read("s").map(drop), InvalidArgument, "Does not have sufficient slices");
    check(v1.read("zz").map(drop), NotFound, "Tensor name \"zz\" not found in checkpoint files");
}

#[test]
fn an_unfinished_save_leaves_the_earlier_one() {
    let dir = TestDir::new();
    let save = |value: f32, finish: bool| {
        let mut writer = BundleWriter::new(dir.path("m")).unwrap();
        writer.add("a", &Tensor::full(&[100_000], value).unwrap()).unwrap();
        writer.add("b", &Tensor::scalar(value)).unwrap();
        if finish { writer.finish() } else { Ok(()) }
    };
    let read = |name| BundleReader::open(dir.path("m")).unwrap().read(name).unwrap();
    save(1.0, true).unwrap();
    save(2.0, false).unwrap();
    assert_eq!(dir.names(), ["m.data-00000-of-00001", "m.index"]);
    assert_eq!(read("b").to_string(), "f32 1");
    assert_eq!(read("a").as_slice::<f32>().unwrap()[99_999], 1.0);
    // A directory in the index's place makes the last step fail.
    fs::remove_file(dir.path("m.index")).unwrap();
    fs::create_dir(dir.path("m.index")).unwrap();
    assert!(save(3.0, true).is_err());
    assert_eq!(dir.names(), ["m.data-00000-of-00001", "m.index"]);
    fs::remove_dir(dir.path("m.index")).unwrap();
    save(4.0, true).unwrap();
    assert_eq!(read("b").to_string(), "f32 4");
    assert_eq!(dir.names(), ["m.data-00000-of-00001", "m.index"]);
}

#[test]
fn merges_that_cannot_be() {
    let dir = TestDir::new();
    let two = Tensor::vector(&[1f32, 2.0]);
    let check = |a: &dyn Fn(&mut BundleWriter), b: &dyn Fn(&mut BundleWriter), code: Option<Code>, part: &str| {
        for (name, fill) in [("a", a), ("b", b)] {
            let mut writer = BundleWriter::new(dir.path(name)).unwrap();
            fill(&mut writer);
            writer.finish().unwrap();
        }
        let merged = merge_v2_checkpoints(&[dir.path("a"), dir.path("b")], dir.path("m"), MergeOptions::default());
        match (merged, code) {
            (Ok(()), None) => {}
            (Err(e), Some(code)) => assert!(e.code() == code && e.message().contains(part), "{e}"),
            (other, code) => panic!("expected {code:?}, got {other:?}"),
        }
    };
    let whole = |w: &mut BundleWriter| w.add("w", &two).unwrap();
    let first = |w: &mut BundleWriter| w.add_slice("w", &[4], &"0,2".parse().unwrap(), &two).unwrap();
    let second = |w: &mut BundleWriter| w.add_slice("w", &[4], &"2,2".parse().unwrap(), &two).unwrap();
    let other = |w: &mut BundleWriter| w.add_slice("w", &[6], &"2,2".parse().unwrap(), &two).unwrap();
    let empty = |_: &mut BundleWriter| {};
    let duplicate = "Duplicate tensor keyed by w encountered, when merging prefix:";
    check(&whole, &whole, Some(Code::InvalidArgument), duplicate);
    check(&whole, &first, Some(Code::InvalidArgument), duplicate);
    check(&first, &whole, Some(Code::Internal), "attempting to merge in a non-slice bundle entry");
    check(&first, &first, Some(Code::InvalidArgument), "Duplicate tensor keyed by ");
    check(&first, &other, Some(Code::InvalidArgument), "disagree in dtype or shape");
    assert!(BundleReader::open(dir.path("m")).is_err());
    check(&first, &second, None, "");
    let read = || BundleReader::open(dir.path("m")).unwrap().read("w").unwrap().to_string();
    assert_eq!(read(), "f32[1 2 1 2]");
    check(&empty, &whole, None, "");
    assert_eq!(read(), "f32[1 2]");

    let missing = |prefixes: &[&str], allow_missing_files| {
        let prefixes: Vec<_> = prefixes.iter().map(|p| dir.path(p)).collect();
        let options = MergeOptions { allow_missing_files, ..MergeOptions::default() };
        merge_v2_checkpoints(&prefixes, dir.path("n"), options).map_err(|e| (e.code(), e.message().to_string()))
    };
    let (code, message) = missing(&["m", "x"], false).unwrap_err();
    assert_eq!(code, Code::InvalidArgument);
    assert!(message.starts_with(&format!("allow_missing_files was set to false and {} did", dir.path("x").display())));
    let none = "At least one prefix checkpoint file must exist, but none existed.";
    assert_eq!(missing(&["x", "y"], true), Err((Code::InvalidArgument, none.into())));
    assert_eq!(missing(&[], true), Err((Code::InvalidArgument, none.into())));
    missing(&["x", "m"], true).unwrap();
    assert_eq!(BundleReader::open(dir.path("n")).unwrap().read("w").unwrap().to_string(), "f32[1 2]");
}

#[test]
fn compressed_tables() {
    let dir = TestDir::new();
    let mut table = TableWriter::new(Vec::new(), Compression::Snappy);
    let key = |i: usize| format!("key {i:06}").into_bytes();
    let noise = noise(DType::Uint8, &[600_000], 1);
    for i in 0..30_000 {
        table.add(&key(i), &[b'v'; 30]).unwrap();
    }
    table.add(b"random", noise.bytes().unwrap()).unwrap();
    assert!(table.add(b"random", b"").is_err());
    let bytes = table.finish().unwrap();
    assert!(bytes.len() < 900_000);
    fs::write(dir.path("t"), bytes).unwrap();
    let table = Table::open(dir.path("t")).unwrap();
    assert_eq!(table.entries().unwrap().len(), 30_001);
    for i in [0, 1, 15, 16, 17, 9_999, 29_999] {
        assert_eq!(table.get(&key(i)).unwrap().unwrap(), &[b'v'; 30][..]);
    }
    assert_eq!(table.get(b"random").unwrap().unwrap(), noise.bytes().unwrap());
    assert_eq!([table.get(b"").unwrap(), table.get(b"key").unwrap(), table.get(b"z").unwrap()], [None, None, None]);
}
