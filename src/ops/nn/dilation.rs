//! Morphological dilation: maxima over windows of input plus filter.

use super::gradients::conv as gradients;
use super::window::{Axis, Layout, Padding, check_length, layout_shape, static_output_size};
use crate::error::{Result, bail};
use crate::graph::op::{Grad, InferCtx, Kernel, KernelCtx, NodeInfo, Op};
use crate::tensor::{Element, Shape, Tensor, dispatch};
use num_traits::{Bounded, Num, WrappingAdd};

const ATTRS: &[&str] = &[
    "T: {float, double, int32, uint8, int16, int8, int64, bfloat16, uint16, half, uint32, uint64}",
    "strides: list(int) >= 4",
    "rates: list(int) >= 4",
    "padding: {'SAME', 'VALID'}",
];

pub(in crate::ops) static OPS: &[Op] = &[
    Op {
        name: "Dilation2D",
        ins: &["input: T", "filter: T"],
        outs: &["output: T"],
        attrs: ATTRS,
        shape: forward_shape,
        kernel: Kernel::Pure(forward),
        grad: Grad::Fn(gradients::dilation2d),
        rows: &["strides=[1,1,1,1], rates=[1,1,1,1], padding='VALID'; f32[[[[1] [5] [3]]]], f32[[[1] [0]]] => f32[[[[5] [6]]]]"],
    },
    Op {
        name: "Dilation2DBackpropInput",
        ins: &["input: T", "filter: T", "out_backprop: T"],
        outs: &["in_backprop: T"],
        attrs: ATTRS,
        shape: |ctx| ctx.set(0, ctx.input(0)),
        kernel: Kernel::Pure(|ctx| backward(ctx, 0)),
        grad: Grad::Missing,
        rows: &["strides=[1,1,1,1], rates=[1,1,1,1], padding='VALID'; f32[[[[1] [5] [3]]]], f32[[[1] [0]]], f32[[[[2] [3]]]] \
             => f32[[[[0] [5] [0]]]]"],
    },
    Op {
        name: "Dilation2DBackpropFilter",
        ins: &["input: T", "filter: T", "out_backprop: T"],
        outs: &["filter_backprop: T"],
        attrs: ATTRS,
        shape: |ctx| ctx.set(0, ctx.input(1)),
        kernel: Kernel::Pure(|ctx| backward(ctx, 1)),
        grad: Grad::Missing,
        rows: &["strides=[1,1,1,1], rates=[1,1,1,1], padding='VALID'; f32[[[[1] [5] [3]]]], f32[[[1] [0]]], f32[[[[2] [3]]]] \
             => f32[[[3] [2]]]"],
    },
];

const NHWC: Layout = Layout { channels_first: false, spatial: 2 };

fn check_attrs(strides: &[i64], rates: &[i64]) -> Result<()> {
    check_length("Dilation2D", "strides", strides, 4)?;
    check_length("Dilation2D", "rates", rates, 4)?;
    for (what, values) in [("Strides", strides), ("Rates", rates)] {
        if values[0] != 1 || values[3] != 1 {
            bail!(Unimplemented, "{what} are not yet supported over batch and depth, got {values:?}");
        }
        if values.iter().any(|&v| v < 1 || v > i64::from(i32::MAX)) {
            bail!(InvalidArgument, "{what} must be at least 1 and below 2**31, got {values:?}");
        }
    }
    Ok(())
}

fn forward_shape(ctx: &mut InferCtx) -> Result<()> {
    let (input, filter) = (ctx.input(0).with_rank(4)?, ctx.input(1).with_rank(3)?);
    let (strides, rates) = (ctx.ints("strides")?, ctx.ints("rates")?);
    check_length("Dilation2D", "strides", &strides, 4)?;
    check_length("Dilation2D", "rates", &rates, 4)?;
    let padding = Padding::new(&ctx.string("padding")?, &[], NHWC)?;
    let channels = Shape::from([input.dim(3)]).merge(&Shape::from([filter.dim(2)]))?;
    let size = |dim: usize| {
        let (input, window) = (input.dim(dim as isize), filter.dim(dim as isize - 1));
        // Unlike a convolution's, the size is unknown where the filter's is.
        window.map_or(Ok(None), |w| static_output_size(input, Some(w), strides[dim], rates[dim], &padding, dim))
    };
    let spatial = [size(1)?, size(2)?];
    ctx.set(0, layout_shape(NHWC, input.dim(0), &spatial, channels.dim(0)))
}

struct Geometry {
    batch: usize,
    height: Axis,
    width: Axis,
    depth: usize,
}

impl Geometry {
    fn new(node: &NodeInfo, input: &[usize], filter: &[usize]) -> Result<Geometry> {
        let (strides, rates) = (node.ints("strides")?, node.ints("rates")?);
        check_attrs(strides, rates)?;
        let (&[batch, _, _, depth], &[_, _, filter_depth]) = (input, filter) else {
            bail!(InvalidArgument, "input must be 4-dimensional and filter 3-dimensional: {input:?}, {filter:?}");
        };
        if depth != filter_depth {
            bail!(InvalidArgument, "input and filter must have the same depth: {depth} vs {filter_depth}");
        }
        let padding = Padding::new(node.string("padding")?, &[], NHWC)?;
        let axis = |dim: usize| Axis::new(input[dim], filter[dim - 1], strides[dim] as usize, rates[dim] as usize, &padding, dim);
        Ok(Geometry { batch, height: axis(1)?, width: axis(2)?, depth })
    }

    fn output_dims(&self) -> [usize; 4] {
        [self.batch, self.height.output, self.width.output, self.depth]
    }

    /// The greatest sum at each output, and the places of its summands in input and filter. Where a window holds nothing
    /// greater than the least value, the places are those of its first element.
    fn maxima<T: Element + PartialOrd + Bounded>(
        &self,
        input: &[T],
        filter: &[T],
        add: impl Fn(T, T) -> T,
        mut each: impl FnMut(T, usize, usize),
    ) {
        let (height, width, depth) = (&self.height, &self.width, self.depth);
        for batch in 0..self.batch {
            for y in 0..height.output {
                for x in 0..width.output {
                    for d in 0..depth {
                        let first_y = (y * height.stride).saturating_sub(height.before).min(height.input.saturating_sub(1));
                        let first_x = (x * width.stride).saturating_sub(width.before).min(width.input.saturating_sub(1));
                        let at = |iy: usize, ix: usize| ((batch * height.input + iy) * width.input + ix) * depth + d;
                        let (mut best, mut place, mut weight) = (T::min_value(), at(first_y, first_x), d);
                        for ky in 0..height.window {
                            let Some(iy) = height.position(y, ky) else { continue };
                            for kx in 0..width.window {
                                let Some(ix) = width.position(x, kx) else { continue };
                                let (i, k) = (at(iy, ix), (ky * width.window + kx) * depth + d);
                                let sum = add(input[i], filter[k]);
                                if sum > best {
                                    (best, place, weight) = (sum, i, k);
                                }
                            }
                        }
                        each(best, place, weight);
                    }
                }
            }
        }
    }
}

/// Addition, which wraps around for integers.
trait Add: Element + PartialOrd + Bounded + Num {
    fn add(self, other: Self) -> Self;
}

macro_rules! add {
    (wrapping: $($integer:ty),*; plain: $($float:ty),*) => {
        $(impl Add for $integer {
            fn add(self, other: $integer) -> $integer {
                WrappingAdd::wrapping_add(&self, &other)
            }
        })*
        $(impl Add for $float {
            fn add(self, other: $float) -> $float {
                self + other
            }
        })*
    };
}

add!(wrapping: i8, i16, i32, i64, u8, u16, u32, u64; plain: f32, f64, half::f16, half::bf16);

fn forward(ctx: &mut KernelCtx) -> Result<()> {
    let (input, filter) = (ctx.take(0)?, ctx.take(1)?);
    let geometry = Geometry::new(ctx.node(), input.dims(), filter.dims())?;
    let output = dispatch!(input.dtype(), real, T => {
        let mut output = Vec::new();
        geometry.maxima(input.as_slice::<T>()?, filter.as_slice::<T>()?, Add::add, |best, _, _| output.push(best));
        Tensor::new(&geometry.output_dims(), output)?
    });
    ctx.set(0, output)
}

/// The gradient of input (0) or filter (1).
fn backward(ctx: &mut KernelCtx, of: usize) -> Result<()> {
    let (input, filter, gradient) = (ctx.take(0)?, ctx.take(1)?, ctx.take(2)?);
    let geometry = Geometry::new(ctx.node(), input.dims(), filter.dims())?;
    if gradient.dims() != geometry.output_dims() {
        bail!(
            InvalidArgument,
            "out_backprop must have the shape of the output, {:?}, got {:?}",
            geometry.output_dims(),
            gradient.dims()
        );
    }
    let mut output = Tensor::zeros(input.dtype(), if of == 0 { input.dims() } else { filter.dims() })?;
    if output.is_empty() || gradient.is_empty() {
        return ctx.set(0, output);
    }
    dispatch!(input.dtype(), real, T => {
        let out = output.as_mut_slice::<T>()?;
        let mut gradients = gradient.as_slice::<T>()?.iter();
        geometry.maxima(input.as_slice::<T>()?, filter.as_slice::<T>()?, Add::add, |_, place, weight| {
            if let Some(&g) = gradients.next() {
                let slot = &mut out[if of == 0 { place } else { weight }];
                *slot = Add::add(*slot, g);
            }
        });
    });
    ctx.set(0, output)
}
