//! Places in permutations that are not stored.

use crate::error::{Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op};
use crate::random::index_shuffle;
use crate::tensor::{Shape, Tensor, dispatch};

pub(super) static OPS: &[Op] = &[Op {
    name: "RandomIndexShuffle",
    ins: &["index: dtype", "seed: Tseed", "max_index: dtype"],
    outs: &["output: dtype"],
    attrs: &["rounds: int = 4", "dtype: {int32, uint32, int64, uint64}", "Tseed: {int32, uint32, int64, uint64}"],
    shape: random_index_shuffle_shape,
    kernel: Kernel::Pure(random_index_shuffle),
    grad: Grad::None("random"),
    rows: &["i32[1 2], i32[[1 2 3] [4 5 6]], i32 10 => i32[0 4]", "i64 1, i64[1 2 3], i64 10 => i64 0"],
}];

fn random_index_shuffle_shape(ctx: &mut InferCtx) -> Result<()> {
    let (index, seed, max_index) = (ctx.input(0), ctx.input(1), ctx.input(2));
    index.with_rank_at_most(1)?;
    seed.with_rank_at_least(1)?.with_rank_at_most(2)?;
    max_index.with_rank_at_most(1)?;
    let output = match (index.rank(), seed.rank(), max_index.rank()) {
        (Some(0), Some(1), Some(0)) => Shape::scalar(),
        (Some(0 | 1), Some(1 | 2), Some(0 | 1)) => {
            let mut size = None;
            for (shape, rank) in [(&index, 1), (&seed, 2), (&max_index, 1)] {
                if shape.rank() == Some(rank) {
                    size = size.or(shape.dim(0));
                }
            }
            Shape::vector(size)
        }
        _ => Shape::unknown(),
    };
    ctx.set(0, output)
}

fn random_index_shuffle(ctx: &mut KernelCtx) -> Result<()> {
    let (index, seed, max_index) = (ctx.input(0)?, ctx.input(1)?, ctx.input(2)?);
    let count = index.len().max(max_index.len()).max(seed.len() / 3);
    let is_scalar = index.rank() == 0 && seed.rank() == 1 && max_index.rank() == 0;
    let fits = |tensor: &Tensor| tensor.rank() == 0 || tensor.dims() == [count];
    if !fits(index) {
        bail!(InvalidArgument, "Index must be a scalar or vector of size {count}, got shape {:?}", index.dims());
    }
    if seed.dims() != [3] && seed.dims() != [count, 3] {
        bail!(InvalidArgument, "Seed must be a vector of size [3] or a matrix of size [{count}, 3] but got {:?}.", seed.dims());
    }
    if !fits(max_index) {
        bail!(InvalidArgument, "Maxval must be a scalar or a vector of the same size as index but got {:?}", max_index.dims());
    }
    let rounds = ctx.node().int("rounds")?;
    let Ok(rounds) = u32::try_from(rounds.clamp(0, 1 << 20)) else { bail!(InvalidArgument, "rounds is {rounds}") };
    let (indices, seeds, largest) = (index.to_i64s()?, seed.to_i64s()?, max_index.to_i64s()?);
    let at = |values: &[i64], tensor: &Tensor, i: usize| if tensor.rank() == 0 { values[0] } else { values[i] } as u64;
    let shuffled = (0..count).map(|i| {
        let key = if seed.rank() == 1 { &seeds[..] } else { &seeds[3 * i..] };
        let key = [key[0] as u32, key[1] as u32, key[2] as u32];
        index_shuffle(at(&indices, index, i), key, at(&largest, max_index, i), rounds)
    });
    let dims: &[usize] = if is_scalar { &[] } else { &[count] };
    let out = dispatch!(index.dtype(), integers, T => Tensor::new(dims, shuffled.map(|place| place as T).collect::<Vec<T>>())?);
    ctx.set(0, out)
}
