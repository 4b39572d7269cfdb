//! Hashes of strings.

use crate::error::{Result, bail};
use crate::graph::op::{Grad, Kernel, KernelCtx, Op};
use crate::ops::shape;
use crate::tensor::{Shape, Tensor};
use siphasher::sip::SipHasher24;
use std::hash::Hasher;

pub(in crate::ops) static OPS: &[Op] = &[
    Op {
        name: "StringToHashBucket",
        ins: &["string_tensor: string"],
        outs: &["output: int64"],
        attrs: &["num_buckets: int >= 1"],
        shape: shape::unchanged,
        kernel: Kernel::Pure(|ctx| buckets(ctx, hash64)),
        grad: Grad::None("strings"),
        rows: &["num_buckets=10; str[\"a\" \"b\" \"c\"] => i64[8 0 7]"],
    },
    Op {
        name: "StringToHashBucketFast",
        ins: &["input: string"],
        outs: &["output: int64"],
        attrs: &["num_buckets: int >= 1"],
        shape: shape::unchanged,
        kernel: Kernel::Pure(|ctx| buckets(ctx, farmhash::fingerprint64)),
        grad: Grad::None("strings"),
        rows: &["num_buckets=10; str[\"a\" \"b\" \"c\" \"d\"] => i64[9 2 2 5]"],
    },
    Op {
        name: "StringToHashBucketStrong",
        ins: &["input: string"],
        outs: &["output: int64"],
        attrs: &["num_buckets: int >= 1", "key: list(int)"],
        shape: shape::unchanged,
        kernel: Kernel::Pure(strong),
        grad: Grad::None("strings"),
        rows: &["num_buckets=10, key=[98765, 132]; str[\"a\" \"b\" \"c\"] => i64[4 2 8]"],
    },
    Op {
        name: "Fingerprint",
        ins: &["data: T", "method: string"],
        outs: &["fingerprint: uint8"],
        attrs: &["T: type"],
        shape: |ctx| {
            let rows = ctx.input(0).with_rank_at_least(1)?.dim(0);
            ctx.set(0, Shape::matrix(rows, Some(8)))
        },
        kernel: Kernel::Pure(fingerprint),
        grad: Grad::None("a hash"),
        rows: &["str[\"\"], str \"farmhash64\" => u8[[79 64 144 47 59 106 225 154]]"],
    },
];

fn buckets(ctx: &mut KernelCtx, hash: impl Fn(&[u8]) -> u64) -> Result<()> {
    let count = ctx.node().int("num_buckets")? as u64;
    let input = ctx.input(0)?;
    let values = input.strings()?.iter().map(|s| (hash(s) % count) as i64).collect();
    let output = Tensor::new(input.dims(), values)?;
    ctx.set(0, output)
}

fn strong(ctx: &mut KernelCtx) -> Result<()> {
    let key = ctx.node().ints("key")?;
    let &[low, high] = key else { bail!(InvalidArgument, "Key must have 2 elements, got {}", key.len()) };
    buckets(ctx, |text| {
        let mut hasher = SipHasher24::new_with_keys(low as u64, high as u64);
        hasher.write(text);
        hasher.finish()
    })
}

/// TensorFlow's `Hash64` of bytes: MurmurHash64A with a seed of its own.
pub(in crate::ops) fn hash64(text: &[u8]) -> u64 {
    const MULTIPLIER: u64 = 0xc6a4_a793_5bd1_e995;
    const SEED: u64 = 0x00DE_CAFC_AFFE;
    let mut hash = SEED ^ (text.len() as u64).wrapping_mul(MULTIPLIER);
    let (words, tail) = text.as_chunks::<8>();
    for word in words {
        let mut k = u64::from_le_bytes(*word).wrapping_mul(MULTIPLIER);
        k ^= k >> 47;
        hash = (hash ^ k.wrapping_mul(MULTIPLIER)).wrapping_mul(MULTIPLIER);
    }
    if !tail.is_empty() {
        let mut last = [0u8; 8];
        last[..tail.len()].copy_from_slice(tail);
        hash = (hash ^ u64::from_le_bytes(last)).wrapping_mul(MULTIPLIER);
    }
    hash ^= hash >> 47;
    hash = hash.wrapping_mul(MULTIPLIER);
    hash ^ (hash >> 47)
}

/// Eight bytes for each row. Rows of several strings are hashed once more, from the hashes of the strings.
fn fingerprint(ctx: &mut KernelCtx) -> Result<()> {
    let (data, method) = (ctx.input(0)?, ctx.input(1)?);
    match method.strings()? {
        [method] if method == "farmhash64" => {}
        method => bail!(InvalidArgument, "Unsupported data fingerprint method: {method:?}"),
    }
    let Some(&rows) = data.dims().first() else {
        bail!(InvalidArgument, "Data must have at least one dimension, got shape {}", data.shape())
    };
    let hash = |bytes: &[u8]| farmhash::fingerprint64(bytes).to_le_bytes();
    let rehash = |bytes: &[u8]| {
        let size = bytes.len() / rows.max(1);
        (0..rows).flat_map(|row| hash(&bytes[row * size..(row + 1) * size])).collect::<Vec<u8>>()
    };
    let out = match data.strings() {
        Ok(strings) => {
            let single: Vec<u8> = strings.iter().flat_map(|s| hash(s)).collect();
            if strings.len() == rows { single } else { rehash(&single) }
        }
        Err(_) => rehash(data.bytes()?),
    };
    ctx.set(0, Tensor::new(&[rows, 8], out)?)
}
