//! Patches of images and volumes, laid out along the depth.

use super::items::{Item, moved};
use crate::error::{Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, Op};
use crate::graph::{Gradient, Grads, Graph, Operation, Output};
use crate::ops::convert::Arg;
use crate::ops::sparse::SparseTensor;
use crate::tensor::{DType, Dims, Shape};

pub(in crate::ops) static OPS: &[Op] = &[
    Op {
        name: "ExtractImagePatches",
        ins: &["images: T"],
        outs: &["patches: T"],
        attrs: &[
            "ksizes: list(int) >= 4",
            "strides: list(int) >= 4",
            "rates: list(int) >= 4",
            "T: {bfloat16, half, float, double, int8, int16, int32, int64, uint8, uint16, uint32, uint64, complex64, complex128, bool}",
            "padding: {'SAME', 'VALID'}",
        ],
        shape: |ctx| {
            let windows =
                Windows::new(&ctx.ints("ksizes")?, &ctx.ints("strides")?, &ctx.ints("rates")?, &ctx.string("padding")?)?;
            patches_shape(ctx, &windows)
        },
        kernel: Kernel::Pure(|ctx| {
            let node = ctx.node();
            let windows =
                Windows::new(node.ints("ksizes")?, node.ints("strides")?, node.ints("rates")?, node.string("padding")?)?;
            patches_kernel(ctx, &windows)
        }),
        grad: Grad::Fn(image_patches_grad),
        rows: &[
            "ksizes=[1, 2, 2, 1], strides=[1, 1, 1, 1], rates=[1, 1, 1, 1], padding='VALID'; f32[[[[1] [2]] [[3] [4]]]] => f32[[[[1 2 3 4]]]]",
            "ksizes=[1, 2, 2, 1], strides=[1, 2, 2, 1], rates=[1, 2, 2, 1], padding='SAME'; f32[[[[1] [2]] [[3] [4]]]] => f32[[[[1 0 0 0]]]]",
        ],
    },
    Op {
        name: "ExtractVolumePatches",
        ins: &["input: T"],
        outs: &["patches: T"],
        attrs: &[
            "ksizes: list(int) >= 5",
            "strides: list(int) >= 5",
            "T: {float, double, int32, uint8, int16, int8, int64, bfloat16, uint16, half, uint32, uint64}",
            "padding: {'SAME', 'VALID'}",
        ],
        shape: |ctx| {
            let windows = Windows::new(&ctx.ints("ksizes")?, &ctx.ints("strides")?, &[1; 5], &ctx.string("padding")?)?;
            patches_shape(ctx, &windows)
        },
        kernel: Kernel::Pure(|ctx| {
            let node = ctx.node();
            let windows = Windows::new(node.ints("ksizes")?, node.ints("strides")?, &[1; 5], node.string("padding")?)?;
            patches_kernel(ctx, &windows)
        }),
        grad: Grad::Fn(volume_patches_grad),
        rows: &[
            "ksizes=[1, 1, 1, 2, 1], strides=[1, 1, 1, 1, 1], padding='VALID'; f32[[[[[1] [2] [3]]]]] => f32[[[[[1 2] [2 3]]]]]",
        ],
    },
];

/// One spatial dimension: window size, step and distance between a window's elements.
#[derive(Clone, Copy)]
struct Window {
    size: usize,
    stride: usize,
    rate: usize,
}

struct Windows {
    axes: Vec<Window>,
    same: bool,
}

impl Windows {
    fn new(sizes: &[i64], strides: &[i64], rates: &[i64], padding: &str) -> Result<Windows> {
        let rank = rates.len();
        let mut axes = Vec::new();
        for (what, list) in [("ksizes", sizes), ("strides", strides), ("rates", rates)] {
            if list.len() != rank {
                bail!(InvalidArgument, "{what} must have {rank} elements, got {}", list.len());
            }
            if list[0] != 1 || list[rank - 1] != 1 {
                bail!(Unimplemented, "Only support {what} across space.");
            }
            if let Some(bad) = list.iter().find(|&&v| v < 1 || v > i64::from(u32::MAX)) {
                bail!(OutOfRange, "{what} is out of range: must be positive, got {bad}");
            }
        }
        for i in 1..rank - 1 {
            axes.push(Window { size: sizes[i] as usize, stride: strides[i] as usize, rate: rates[i] as usize });
        }
        Ok(Windows { axes, same: padding == "SAME" })
    }

    /// The number of windows along an axis of this size, and how much is added before it.
    fn fit(&self, axis: usize, size: usize) -> Result<(usize, usize)> {
        let Window { size: window, stride, rate } = self.axes[axis];
        let reach = (window - 1) * rate + 1;
        if self.same {
            let count = size.div_ceil(stride);
            let padding = (count.saturating_sub(1) * stride + reach).saturating_sub(size);
            return Ok((count, if count == 0 { 0 } else { padding / 2 }));
        }
        if reach >= size + 2 * stride {
            bail!(InvalidArgument, "Computed output size would be negative: input size {size}, window {reach}, stride {stride}");
        }
        Ok(((size + stride).saturating_sub(reach) / stride, 0))
    }
}

fn patches_shape(ctx: &mut InferCtx, windows: &Windows) -> Result<()> {
    let rank = windows.axes.len() + 2;
    let input = ctx.input(0).with_rank(rank)?;
    let mut dims = vec![input.dim(0)];
    for axis in 0..windows.axes.len() {
        let size = input.dim(axis as isize + 1);
        dims.push(size.map(|s| windows.fit(axis, s)).transpose()?.map(|f| f.0));
    }
    let area = windows.axes.iter().try_fold(1usize, |n, w| n.checked_mul(w.size));
    dims.push(input.dim(-1).zip(area).and_then(|(d, a)| d.checked_mul(a)));
    ctx.set(0, Shape::from(dims))
}

fn patches_kernel(ctx: &mut KernelCtx, windows: &Windows) -> Result<()> {
    let input = ctx.input(0)?;
    let spatial = windows.axes.len();
    if input.rank() != spatial + 2 {
        bail!(InvalidArgument, "input must be {}-dimensional, got shape {:?}", spatial + 2, input.dims());
    }
    let dims = input.dims();
    let depth = dims[spatial + 1];
    let mut fits = Vec::new();
    let mut out_dims = Dims::from_slice(&dims[..1]);
    for axis in 0..spatial {
        fits.push(windows.fit(axis, dims[axis + 1])?);
        out_dims.push(fits[axis].0);
    }
    let offsets: usize = windows.axes.iter().map(|w| w.size).product();
    out_dims.push(offsets * depth);
    let dtype = input.dtype();
    let output = moved!(dtype, T => {
        let from = T::of(input)?;
        T::build(dtype, &out_dims, |to| {
            if depth == 0 || to.is_empty() {
                return Ok(());
            }
            for (number, to) in to.chunks_exact_mut(depth).enumerate() {
                let (mut offset, mut place) = (number % offsets, number / offsets);
                let (mut start, mut step) = (0usize, depth);
                let mut inside = true;
                for axis in (0..spatial).rev() {
                    let Window { size, stride, rate } = windows.axes[axis];
                    let (count, before) = fits[axis];
                    let at = (place % count * stride + offset % size * rate) as isize - before as isize;
                    inside &= (0..dims[axis + 1] as isize).contains(&at);
                    start = start.wrapping_add_signed(at.wrapping_mul(step as isize));
                    step *= dims[axis + 1];
                    place /= count;
                    offset /= size;
                }
                match inside {
                    true => to.clone_from_slice(&from[place * step + start..][..depth]),
                    false => to.fill(T::default()),
                }
            }
            Ok(())
        })
    })?;
    ctx.set(0, output)
}

fn image_patches_grad(g: &Graph, op: Operation, grads: &Grads) -> Result<Vec<Option<Gradient>>> {
    let input_shape = g.shape_tensor_as(g.input(op, 0)?, DType::Int64)?;
    let parts = g.unstack(input_shape)?;
    let &[batch, rows_in, columns_in, channels] = &parts[..] else { bail!(InvalidArgument, "images must be 4-dimensional") };
    let output_shape = g.shape_tensor_as(op.output(0), DType::Int64)?;
    let output_size = g.index(output_shape, &[(1..3).into()])?;
    let parts = g.unstack(output_size)?;
    let (rows_out, columns_out) = (parts[0], parts[1]);
    let sizes = crate::graph::attr::list(&g.get_attr(op, "ksizes")?)?.i.clone();
    let count = g.operator("mul", "Mul", rows_in, columns_in)?;
    let end = g.operator("add", "AddV2", count, 1i32)?;
    let numbers = float_range(g, end)?;
    let one = || Arg::from(1i32);
    let numbers = g.reshape(numbers, [one(), rows_in.into(), columns_in.into(), one()])?;
    let mut patched = g.op("ExtractImagePatches").input(numbers);
    for name in ["ksizes", "strides", "rates", "padding"] {
        patched = patched.attr(name, g.get_attr(op, name)?);
    }
    let patched = g.op("Cast").input(patched.output()?).attr("DstT", DType::Int64).output()?;
    let grad = grads.dense(g, 0)?;
    let size = |i: usize| Arg::from(sizes[i] as i32);
    let split = [batch.into(), rows_out.into(), columns_out.into(), size(1), size(2), channels.into()];
    let grad = g.reshape(grad, split)?;
    let grad = g.transpose(grad, Some([1i32, 2, 3, 4, 0, 5].into()))?;
    let width = g.operator("mul", "Mul", batch, channels)?;
    let flat = g.reshape(grad, [Arg::from(-1i32), width.into()])?;
    let ids = g.reshape(patched, [-1i32])?;
    let ids = g.operator("sub", "Sub", ids, 1i32)?;
    let sum = g.op("UnsortedSegmentSum").input(flat).input(ids).input(count).output()?;
    let grad = g.reshape(sum, [rows_in, columns_in, batch, channels])?;
    let grad = g.transpose(grad, Some([2i32, 0, 1, 3].into()))?;
    Ok(vec![Some(grad.into())])
}

fn volume_patches_grad(g: &Graph, op: Operation, grads: &Grads) -> Result<Vec<Option<Gradient>>> {
    let input = g.input(op, 0)?;
    let spatial = |output: Output| -> Result<[usize; 3]> {
        let shape = g.shape(output)?;
        match (shape.dim(1), shape.dim(2), shape.dim(3)) {
            (Some(a), Some(b), Some(c)) => Ok([a, b, c]),
            _ => bail!(InvalidArgument, "the gradient of ExtractVolumePatches needs static sizes, got {shape}"),
        }
    };
    let ([planes, rows, columns], [planes_out, rows_out, columns_out]) = (spatial(input)?, spatial(op.output(0))?);
    let sizes = crate::graph::attr::list(&g.get_attr(op, "ksizes")?)?.i.clone();
    let shape = g.shape_tensor(input)?;
    let (batch, channels) = (g.index(shape, &[0.into()])?, g.index(shape, &[4.into()])?);
    let count = (1 + planes * rows * columns) as i64;
    let numbers = g.range(1i64, count, 1i64)?;
    let numbers = g.reshape(numbers, [1, planes as i32, rows as i32, columns as i32, 1])?;
    let mut patched = g.op("ExtractVolumePatches").input(numbers);
    for name in ["ksizes", "strides", "padding"] {
        patched = patched.attr(name, g.get_attr(op, name)?);
    }
    let patched = patched.output()?;
    let window = sizes[1] * sizes[2] * sizes[3];
    let outputs = (planes_out * rows_out * columns_out) as i64 * window;
    let places = g.range(0i64, outputs, 1i64)?;
    let places = g.reshape(places, [1, planes_out as i32, rows_out as i32, columns_out as i32, window as i32])?;
    let pairs = [g.expand_dims(patched, -1i32)?.into(), g.expand_dims(places, -1i32)?.into()];
    let pairs = g.reshape(g.concat(&pairs, -1i32)?, [-1i32, 2])?;
    let grad = grads.dense(g, 0)?;
    let ones = g.ones([outputs as i32], g.dtype(grad)?)?;
    // The numbers begin at one, so that the first row is that of the padding.
    let full = SparseTensor::new(pairs, ones, g.constant([count, outputs])?);
    let matrix = g.sparse_slice(full, [1i64, 0], [count - 1, outputs])?;
    let size = |i: usize| Arg::from(sizes[i] as i32);
    let out = |n: usize| Arg::from(n as i32);
    let split = [batch.into(), out(planes_out), out(rows_out), out(columns_out), size(1), size(2), size(3), channels.into()];
    let grad = g.transpose(g.reshape(grad, split)?, Some([1i32, 2, 3, 4, 5, 6, 0, 7].into()))?;
    let width = g.operator("mul", "Mul", batch, channels)?;
    let flat = g.reshape(grad, [Arg::from(-1i32), width.into()])?;
    let product = g.sparse_tensor_dense_matmul(matrix, flat, false, false)?;
    let grad = g.reshape(product, [out(planes), out(rows), out(columns), batch.into(), channels.into()])?;
    Ok(vec![Some(g.transpose(grad, Some([3i32, 0, 1, 2, 4].into()))?.into())])
}

/// `tf.range(1, end, dtype=tf.float32)` for an int64 end.
fn float_range(g: &Graph, end: Output) -> Result<Output> {
    let (g, scope) = g.enter("range")?;
    let start = g.named("start").constant(1f32)?;
    let delta = g.named("delta").constant(1f32)?;
    let end = g.op("Cast").input(end).attr("DstT", DType::Float).output()?;
    g.op("Range").name(scope.name()).input(start).input(end).input(delta).output()
}

/// The options of [`Graph::extract_image_patches`]: for height and width each.
#[derive(Clone, Copy, Debug)]
pub struct ImagePatches {
    /// The size of a patch.
    pub sizes: [i64; 2],
    /// How far apart patches begin.
    pub strides: [i64; 2],
    /// How far apart neighbours within a patch stand.
    pub rates: [i64; 2],
    /// Zeros are added so that there is a patch at every stride.
    pub same: bool,
}

impl Graph {
    /// Patches of images `[batch, height, width, depth]`, one behind the other along the depth
    /// (`tf.image.extract_patches`).
    ///
    /// # Errors
    /// `InvalidArgument` for sizes that aren't positive, or images smaller than a patch.
    pub fn extract_image_patches(&self, images: Output, options: ImagePatches) -> Result<Output> {
        let list = |v: [i64; 2]| [1, v[0], v[1], 1];
        let (sizes, strides, rates) = (list(options.sizes), list(options.strides), list(options.rates));
        let op = self.op("ExtractImagePatches").input(images).attr("ksizes", &sizes[..]).attr("strides", &strides[..]);
        op.attr("rates", &rates[..]).attr("padding", if options.same { "SAME" } else { "VALID" }).output()
    }
}
