//! Tests of the module as a whole.

mod golden;
mod hostile;
mod round_trip;
mod state;

use crate::tensor::{DType, Tensor, element_count};
use bytes::Bytes;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A directory that goes away with the value.
struct TestDir(PathBuf);

impl TestDir {
    fn new() -> TestDir {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let dir = std::env::temp_dir().join(format!("metagraph-bundle-{}-{count}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        TestDir(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> =
            std::fs::read_dir(&self.0).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for TestDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/bundle").join(name)
}

/// A tensor with bytes, or strings, that depend on the seed.
fn noise(dtype: DType, dims: &[usize], mut seed: u64) -> Tensor {
    let mut next = move || {
        seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (seed >> 33) as u8
    };
    if dtype == DType::String {
        let string = |_| Bytes::from((0..next()).map(|_| next()).collect::<Vec<_>>());
        return Tensor::from_strings(dims, (0..element_count(dims).unwrap()).map(string).collect()).unwrap();
    }
    let mut tensor = Tensor::zeros(dtype, dims).unwrap();
    for byte in tensor.bytes_mut().unwrap() {
        *byte = match dtype {
            DType::Bool => next() & 1,
            DType::Uint4 => next() & 15,
            DType::Int4 => (next() & 15).wrapping_sub(8),
            _ => next(),
        };
    }
    tensor
}

/// Every element type that can be saved.
fn savable() -> impl Iterator<Item = DType> {
    DType::ALL.iter().copied().filter(|d| !matches!(d, DType::Resource | DType::Variant))
}
