//! Files that no writer wrote: an error each, never a panic, never more memory than the file could fill.

use super::{TestDir, fixture};
use crate::bundle::coding::{mask, put_varint};
use crate::bundle::ordered_code::encode_tensor_name_slice;
use crate::bundle::table::{Compression, Table, TableWriter};
use crate::bundle::{CheckpointReader, TensorSlice, data_filename};
use crate::error::{Code, Error};
use crate::proto::tensor_shape_proto::Dim;
use crate::proto::tensor_slice_proto::{Extent, extent::HasLength};
use crate::proto::*;
use crate::tensor::Tensor;
use prost::Message;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

/// Reads whatever can be read.
fn read_all(path: &Path) -> Result<BTreeMap<String, Tensor>, Error> {
    let reader = CheckpointReader::open(path)?;
    let names = reader.variables()?.into_keys();
    names.map(|name| reader.read(&name).map(|tensor| (name, tensor))).collect()
}

/// Changes each file of a fixture at every byte. What is read afterwards is an error or what was there before.
fn check_changed(files: &[&str], open: &str) {
    let dir = TestDir::new();
    let expected = read_all(&fixture(open)).unwrap();
    let contents: Vec<Vec<u8>> = files.iter().map(|f| fs::read(fixture(f)).unwrap()).collect();
    for (file, bytes) in files.iter().zip(&contents) {
        fs::write(dir.path(file), bytes).unwrap();
    }
    let check = |what: &str| match read_all(&dir.path(open)) {
        Ok(tensors) => assert!(tensors == expected, "{what} reads as something else"),
        Err(e) => assert!(e.code() != Code::Internal || e.message().contains("checkpoint file"), "{what}: {e}"),
    };
    for (file, bytes) in files.iter().zip(&contents) {
        let path = dir.path(file);
        // In place, as truncating and writing anew makes some file systems wait for the disk.
        let mut open_file = File::options().write(true).open(&path).unwrap();
        for (at, byte) in bytes.iter().enumerate() {
            write_byte(&mut open_file, at, byte ^ 1 << (at % 8));
            check(&format!("{file} with a bit flipped at {at}"));
            write_byte(&mut open_file, at, *byte);
        }
        for end in (0..bytes.len()).rev() {
            open_file.set_len(end as u64).unwrap();
            assert!(read_all(&dir.path(open)).is_err(), "{file} cut at {end}");
        }
        fs::write(&path, bytes).unwrap();
    }
    check("what was put back");
}

fn write_byte(file: &mut File, at: usize, byte: u8) {
    file.seek(SeekFrom::Start(at as u64)).unwrap();
    file.write_all(&[byte]).unwrap();
}

#[test]
fn changed_v2_checkpoints() {
    check_changed(&["all.index", "all.data-00000-of-00001"], "all");
    check_changed(&["merged.index", "merged.data-00000-of-00002", "merged.data-00001-of-00002"], "merged");
}

#[test]
fn changed_v1_checkpoints() {
    check_changed(&["v1"], "v1");
}

#[test]
fn flipped_data_is_told_with_key_and_place() {
    let dir = TestDir::new();
    let mut data = fs::read(fixture("part-0.data-00000-of-00001")).unwrap();
    data[170 - 8] ^= 4;
    fs::copy(fixture("part-0.index"), dir.path("m.index")).unwrap();
    fs::write(dir.path("m.data-00000-of-00001"), &data).unwrap();
    let reader = CheckpointReader::open(dir.path("m")).unwrap();
    assert_eq!(reader.read("b").unwrap().to_string(), "f32[1 1]");
    let error = reader.read_slice("w", &TensorSlice::parse("0,5:-").unwrap()).unwrap_err();
    assert_eq!(error.code(), Code::DataLoss);
    assert!(error.message().contains("Checksum does not match"), "{error}");
    let place = format!("key w, {} at offset 8", dir.path("m.data-00000-of-00001").display());
    assert_eq!(error.context(), [place]);
}

fn shape(dims: &[i64]) -> Option<TensorShapeProto> {
    let dim = dims.iter().map(|&size| Dim { size, name: String::new() }).collect();
    Some(TensorShapeProto { dim, unknown_rank: false })
}

fn slice(extents: &[(i64, i64)]) -> TensorSliceProto {
    let extent = extents.iter().map(|&(start, n)| Extent { start, has_length: Some(HasLength::Length(n)) }).collect();
    TensorSliceProto { extent }
}

/// Sixteen bytes of data with a checksum that is right for all of them.
const DATA: &[u8; 16] = &[0; 16];

fn float(dims: &[i64], size: i64) -> BundleEntryProto {
    let crc32c = mask(crc32c::crc32c(&DATA[..size.clamp(0, 16) as usize]));
    BundleEntryProto { dtype: 1, shape: shape(dims), size, crc32c, ..Default::default() }
}

fn header() -> BundleHeaderProto {
    BundleHeaderProto { num_shards: 1, ..Default::default() }
}

fn table(entries: &[(&[u8], Vec<u8>)]) -> Vec<u8> {
    let mut table = TableWriter::new(Vec::new(), Compression::None);
    for (key, value) in entries {
        table.add(key, value).unwrap();
    }
    table.finish().unwrap()
}

#[test]
fn wrong_entries() {
    use Code::*;
    let dir = TestDir::new();
    let prefix = dir.path("m");
    fs::write(data_filename(&prefix, 0, 1), DATA).unwrap();
    let ok = float(&[4], 16);
    let with = |change: &dyn Fn(&mut BundleEntryProto)| {
        let mut entry = ok.clone();
        change(&mut entry);
        entry
    };
    let table_of = |entry: &BundleEntryProto| table(&[(b"", header().encode_to_vec()), (b"w", entry.encode_to_vec())]);
    let unknown_rank = Some(TensorShapeProto { unknown_rank: true, dim: Vec::new() });
    let sliced = |dims: &[i64], slices: Vec<TensorSliceProto>| BundleEntryProto { slices, ..float(dims, 0) };
    let entries = [
        (with(&|_| {}), None),
        (with(&|e| e.size = 12), Some((DataLoss, "stored size 12; expected size 16"))),
        (with(&|e| e.size = -16), Some((DataLoss, "Invalid offset 0 or size -16"))),
        (with(&|e| e.offset = -1), Some((DataLoss, "Invalid offset -1"))),
        (with(&|e| e.offset = 4), Some((OutOfRange, "Read less bytes than requested"))),
        (with(&|e| e.offset = i64::MAX), Some((OutOfRange, "Read less bytes than requested"))),
        (with(&|e| e.crc32c ^= 1), Some((DataLoss, "Checksum does not match"))),
        (with(&|e| e.shard_id = 7), Some((NotFound, "m.data-00007-of-00001; No such file"))),
        (with(&|e| e.shard_id = -7), Some((NotFound, "No such file"))),
        (with(&|e| e.dtype = 0), Some((InvalidArgument, "unknown dtype number 0"))),
        (with(&|e| e.dtype = 99), Some((InvalidArgument, "unknown dtype number 99"))),
        (with(&|e| e.dtype = 20), Some((Unimplemented, "Restoring data type resource"))),
        (with(&|e| e.dtype = 21), Some((Unimplemented, "Restoring data type variant"))),
        (with(&|e| e.dtype = 7), Some((DataLoss, "The length checksum does not match"))),
        (with(&|e| e.shape = shape(&[-1])), Some((DataLoss, "Invalid tensor shape"))),
        (with(&|e| e.shape = shape(&[i64::MAX, i64::MAX])), Some((DataLoss, "Invalid tensor shape"))),
        (with(&|e| e.shape = shape(&[1 << 62])), Some((DataLoss, "expected size past 2**64"))),
        (with(&|e| e.shape = unknown_rank.clone()), Some((DataLoss, "Invalid tensor shape"))),
        (with(&|e| e.shape = None), Some((DataLoss, "expected size 4"))),
        (float(&[1 << 40], 4 << 40), Some((OutOfRange, "Read less bytes than requested"))),
        (BundleEntryProto { dtype: 7, ..float(&[1 << 40], 16) }, Some((DataLoss, "strings can't be in 16 bytes"))),
        (sliced(&[4], vec![slice(&[(0, 4)])]), Some((NotFound, "its slice 0,4 is missing"))),
        (sliced(&[1 << 40], vec![slice(&[(0, 1 << 40)])]), Some((NotFound, "is missing"))),
        (sliced(&[4], vec![slice(&[(0, 3)])]), Some((InvalidArgument, "sufficient slices"))),
        (sliced(&[4], vec![slice(&[(0, 5)])]), Some((Internal, "out of bounds"))),
        (sliced(&[4], vec![slice(&[(0, 2), (0, 2)])]), Some((Internal, "Mismatching ranks"))),
        (sliced(&[4], vec![slice(&[(0, 4)]); 2]), Some((Internal, "Overlapping slices"))),
        (sliced(&[4], vec![slice(&[(-1, 4)])]), Some((InvalidArgument, "Expected non-negative start"))),
        (sliced(&[4], vec![slice(&[(1, i64::MAX)])]), Some((InvalidArgument, "Extent end exceeds"))),
    ];
    let check = |bytes: Vec<u8>, expected: Option<(Code, &str)>| {
        fs::write(dir.path("m.index"), bytes).unwrap();
        match (read_all(&prefix), expected) {
            (Ok(tensors), None) => assert_eq!(tensors["w"].to_string(), "f32[0 0 0 0]"),
            (Err(e), Some((code, part))) => assert!(e.code() == code && e.message().contains(part), "{part}: got {e}"),
            (other, expected) => panic!("expected {expected:?}, got {other:?}"),
        }
    };
    for (entry, expected) in entries {
        check(table_of(&entry), expected);
    }

    let h = |change: &dyn Fn(&mut BundleHeaderProto)| {
        let mut header = header();
        change(&mut header);
        table(&[(b"", header.encode_to_vec()), (b"w", ok.encode_to_vec())])
    };
    let version = |producer, min_consumer, bad: &[i32]| VersionDef { producer, min_consumer, bad_consumers: bad.to_vec() };
    check(h(&|h| h.endianness = 1), Some((Unimplemented, "m.index is big-endian")));
    check(h(&|h| h.endianness = 5), Some((Unimplemented, "big-endian")));
    check(h(&|h| h.version = Some(version(1, 2, &[]))), Some((InvalidArgument, "min consumer version 2 above")));
    check(h(&|h| h.version = Some(version(-1, 0, &[]))), Some((InvalidArgument, "producer version -1")));
    check(h(&|h| h.version = Some(version(9, 0, &[1]))), Some((InvalidArgument, "disallows consumer version 1")));
    check(h(&|h| h.version = Some(version(9, 1, &[2]))), None);
    check(table(&[]), Some((DataLoss, "failed to seek to header entry")));
    check(table(&[(b"w", ok.encode_to_vec())]), Some((DataLoss, "failed to seek to header entry")));
    check(table(&[(b"", b"\xff".to_vec())]), Some((DataLoss, "unable to parse header")));
    let good = header().encode_to_vec();
    check(table(&[(b"", good.clone()), (b"w", b"\xff".to_vec())]), Some((DataLoss, "Entry for key w not parseable")));
    check(table(&[(b"", good.clone()), (b"\xff", ok.encode_to_vec())]), Some((DataLoss, "isn't UTF-8")));

    // Slices whose own entries are wrong.
    let full = sliced(&[8], vec![slice(&[(0, 4)]), slice(&[(4, 4)])]);
    let [first, second] = ["0,4", "4,4"].map(|s| encode_tensor_name_slice("w", &TensorSlice::parse(s).unwrap()));
    let parts = |a: &BundleEntryProto, b: &BundleEntryProto| {
        let (a, b, full) = (a.encode_to_vec(), b.encode_to_vec(), full.encode_to_vec());
        table(&[(b"", good.clone()), (&first, a), (&second, b), (b"w", full)])
    };
    check(parts(&ok, &ok), Some((DataLoss, "the slices of key w have 32 bytes, more than the data files")));
    check(parts(&ok, &float(&[3], 12)), Some((DataLoss, "slice 4,4 of key w: expected float32 of [4]")));
    check(parts(&ok, &with(&|e| e.dtype = 3)), Some((DataLoss, "got int32 of [4]")));
    check(parts(&full, &ok), Some((DataLoss, "slice 0,4 of key w")));
}

#[test]
fn wrong_strings() {
    let dir = TestDir::new();
    let prefix = dir.path("m");
    let check = |lengths: &[u64], tail: &[u8], count: i64, part: &str| {
        let mut data = Vec::new();
        let mut sum = 0;
        for &n in lengths {
            put_varint(&mut data, n);
            sum = match u32::try_from(n) {
                Ok(n) => crc32c::crc32c_append(sum, &n.to_le_bytes()),
                Err(_) => crc32c::crc32c_append(sum, &n.to_le_bytes()),
            };
        }
        let stored = mask(sum).to_le_bytes();
        data.extend_from_slice(&stored);
        data.extend_from_slice(tail);
        let crc = crc32c::crc32c_append(crc32c::crc32c_append(sum, &stored), tail);
        let size = data.len() as i64;
        let entry = BundleEntryProto { dtype: 7, shape: shape(&[count]), size, crc32c: mask(crc), ..Default::default() };
        fs::write(data_filename(&prefix, 0, 1), data).unwrap();
        fs::write(dir.path("m.index"), table(&[(b"", header().encode_to_vec()), (b"w", entry.encode_to_vec())])).unwrap();
        match read_all(&prefix) {
            Ok(tensors) => assert_eq!(tensors["w"].to_string(), part),
            Err(e) => assert!(e.code() == Code::DataLoss && e.message().contains(part), "{part}: got {e}"),
        }
    };
    check(&[1, 2], b"abc", 2, "str[\"a\" \"bc\"]");
    check(&[], b"", 0, "str{0}[]");
    check(&[1, 3], b"abc", 2, "string 1 has 3 bytes, but 2 are left");
    check(&[1, 1 << 40], b"abc", 2, "string 1 has 1099511627776 bytes");
    check(&[1, u64::MAX], b"abc", 2, "string 1 has 18446744073709551615 bytes");
    check(&[1, 1], b"abc", 2, "1 bytes are left behind the 2 strings");
    check(&[1, 1], b"ab", 3, "The length checksum does not match");
    check(&[1], b"", 5, "isn't within the entry's 5 bytes");
    check(&[1], b"", 2, "String lengths longer than expected offset 5");
    check(&[1], b"a", 100, "100 strings can't be in 6 bytes");
}

/// A table of one data block and an index, with right checksums around any contents.
fn raw_table(block: &[u8], kind: u8) -> Vec<u8> {
    let mut out = Vec::new();
    let mut add = |contents: &[u8], kind: u8| {
        let mut handle = Vec::new();
        put_varint(&mut handle, out.len() as u64);
        put_varint(&mut handle, contents.len() as u64);
        out.extend_from_slice(contents);
        out.push(kind);
        let crc = crc32c::crc32c_append(crc32c::crc32c(contents), &[kind]);
        out.extend_from_slice(&mask(crc).to_le_bytes());
        handle
    };
    let block = add(block, kind);
    let index = add(&[&[0, 1, block.len() as u8, b'z'][..], &block, &[0, 0, 0, 0, 1, 0, 0, 0]].concat(), 0);
    let mut footer = [index.clone(), index].concat();
    footer.resize(40, 0);
    out.extend_from_slice(&footer);
    out.extend_from_slice(&0xdb47_7524_8b80_fb57u64.to_le_bytes());
    out
}

#[test]
fn wrong_blocks() {
    let dir = TestDir::new();
    let restarts = [0, 0, 0, 0, 1, 0, 0, 0];
    let block = |entries: &[u8]| [entries, &restarts].concat();
    // A snappy stream that claims 4 GiB.
    let bomb = [0xff, 0xff, 0xff, 0xff, 0x0f, 0, b'a'];
    let mut growing = vec![0, 200, 1, 0];
    growing.extend([b'k'; 200]);
    for i in 0..100 {
        growing.extend([200, 1, 1, 0, b'k' + i]);
    }
    let table: &[(Vec<u8>, u8, &str)] = &[
        (block(&[0, 1, 1, b'a', b'1', 1, 1, 1, b'b', b'2']), 0, ""),
        (block(&[]), 0, ""),
        (vec![], 0, "bad entry in block"),
        (vec![0, 0, 0], 0, "bad entry in block"),
        (vec![0xff, 0xff, 0xff, 0xff], 0, "bad entry in block"),
        (vec![2, 0, 0, 0, 2, 0, 0, 0], 0, "bad entry in block"),
        (block(&[1, 1, 1, b'a', b'1']), 0, "bad entry in block, 0 bytes"),
        (block(&[0, 1, 1, b'a', b'1', 2, 0, 0]), 0, "bad entry in block, 5 bytes"),
        (block(&[0, 9, 1, b'a', b'1']), 0, "bad entry in block"),
        (block(&[0, 1, 9, b'a', b'1']), 0, "bad entry in block"),
        (block(&[0, 1]), 0, "bad entry in block"),
        (block(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 1, 1]), 0, "bad entry in block"),
        (block(&[0, 1, 0, b'b', 0, 1, 0, b'a']), 0, "the keys of the table don't increase"),
        (block(&[0, 1, 0, b'a', 1, 0, 0]), 0, "the keys of the table don't increase"),
        (block(&growing), 0, "expand too far"),
        (bomb.to_vec(), 1, "7 bytes can't expand to 4294967295"),
        (vec![10, 0, b'a'], 1, "corrupted compressed block contents"),
        (vec![0xff; 11], 1, "corrupted compressed block contents"),
        (vec![], 1, "corrupted compressed block contents"),
        (block(&[]), 2, "bad block type: expected 0 or 1, got 2"),
    ];
    for (block, kind, part) in table {
        let path = dir.path("t");
        fs::write(&path, raw_table(block, *kind)).unwrap();
        match Table::open(&path).unwrap().entries() {
            Ok(_) => assert_eq!(*part, "", "{block:?}"),
            Err(e) => {
                assert!(e.code() == Code::DataLoss && !part.is_empty() && e.message().contains(part), "{part}: got {e}");
                assert!(e.to_string().contains(&format!("{} at offset 0", path.display())) || part.contains("expand too"), "{e}");
            }
        }
    }
    let mut huge = raw_table(&block(&[]), 0);
    let footer = huge.len() - 48;
    huge[footer..footer + 20].copy_from_slice(&[[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]; 2].concat());
    huge[footer + 20..footer + 40].copy_from_slice(&[[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]; 2].concat());
    for (bytes, part) in [
        (huge, "truncated block read"),
        (vec![b'x'; 100], "not an sstable (bad magic number)"),
        (vec![b'x'; 47], "file is too short to be an sstable"),
        (vec![], "file is too short to be an sstable"),
    ] {
        fs::write(dir.path("t"), bytes).unwrap();
        let error = Table::open(dir.path("t")).err().unwrap();
        assert!(error.code() == Code::DataLoss && error.message().contains(part), "{part}: got {error}");
        assert!(error.context()[0].contains(&dir.path("t").display().to_string()));
    }
    assert_eq!(Table::open(&dir.0).err().unwrap().code(), Code::FailedPrecondition);
    let error = CheckpointReader::open(dir.path("t")).err().unwrap();
    let message = format!("Unable to open table file {}: DataLoss: file is too short", dir.path("t").display());
    assert!(error.code() == Code::DataLoss && error.message().starts_with(&message), "{error}");
}

#[test]
fn wrong_v1_records() {
    use Code::*;
    let dir = TestDir::new();
    let path = dir.path("v1");
    let slice_meta = |dtype: i32, dims: &[i64], slices: Vec<TensorSliceProto>| SavedSliceMeta {
        name: "w".into(),
        shape: shape(dims),
        r#type: dtype,
        slice: slices,
    };
    let full = TensorSliceProto { extent: vec![Extent::default()] };
    let check = |tensor: Vec<SavedSliceMeta>, min_consumer: i32, data: Option<TensorProto>, code: Code, part: &str| {
        let versions = Some(VersionDef { producer: 1, min_consumer, ..Default::default() });
        let meta = SavedTensorSlices { meta: Some(SavedTensorSliceMeta { tensor, versions }), data: None };
        let data = SavedSlice { name: "w".into(), slice: None, data };
        let data = SavedTensorSlices { meta: None, data: Some(data) };
        let key = encode_tensor_name_slice("w", &TensorSlice::full(1));
        fs::write(&path, table(&[(b"", meta.encode_to_vec()), (&key, data.encode_to_vec())])).unwrap();
        let error = read_all(&path).unwrap_err();
        assert!(error.code() == code && error.message().contains(part), "{part}: got {error}");
    };
    let floats = |n: usize| Some(TensorProto { float_val: vec![1.0; n], ..Default::default() });
    let meta = |dims: &[i64]| vec![slice_meta(1, dims, vec![full.clone()])];
    check(meta(&[3]), 0, floats(2), DataLoss, "expected 3 values of float32, got 2 values");
    check(meta(&[1 << 40]), 0, floats(2), DataLoss, "expected 1099511627776 values");
    check(meta(&[3]), 0, None, DataLoss, "Failed to parse the record: slice - of w in ");
    check(meta(&[-3]), 0, floats(3), DataLoss, "Invalid tensor shape: w");
    check(meta(&[3]), 2, floats(3), InvalidArgument, "min consumer version 2");
    check(vec![slice_meta(99, &[3], vec![full.clone()])], 0, floats(3), InvalidArgument, "unknown dtype number 99");
    check(vec![slice_meta(21, &[3], vec![full.clone()])], 0, floats(3), DataLoss, "got another dtype");
    check(vec![slice_meta(1, &[3], vec![])], 0, floats(3), InvalidArgument, "sufficient slices");
    check(vec![slice_meta(1, &[3], vec![slice(&[(0, 3)])])], 0, floats(3), DataLoss, "Failed to seek to the record");
    check(vec![slice_meta(1, &[3], vec![slice(&[(0, 0)])])], 0, floats(3), InvalidArgument, "positive length");
    check([meta(&[3]), meta(&[4])].concat(), 0, floats(3), Internal, "Incompatible tensor shapes");
    fs::write(&path, table(&[(b"", b"\xff".to_vec())])).unwrap();
    assert_eq!(read_all(&path).unwrap_err().code(), Internal);
    fs::write(&path, table(&[(b"a", b"".to_vec())])).unwrap();
    assert_eq!(read_all(&path).unwrap_err().code(), Internal);
}
