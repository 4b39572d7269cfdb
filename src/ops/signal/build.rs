//! Functions that build transforms.

use crate::error::{Result, bail};
use crate::graph::{Graph, Output};
use crate::ops::convert::Arg;
use crate::tensor::{DType, Tensor};

macro_rules! transforms {
    ($($(#[$doc:meta])* $name:ident, $op:literal;)*) => {
        impl Graph {
            $($(#[$doc])*
            ///
            /// # Errors
            /// `InvalidArgument` for a rank that is too small or numbers that aren't complex.
            pub fn $name(&self, input: Output) -> Result<Output> {
                self.op($op).input(input).output()
            })*
        }
    };
}

transforms! {
    /// The Fourier transform over the last dimension (`tf.signal.fft`).
    fft, "FFT";
    /// The inverse Fourier transform over the last dimension (`tf.signal.ifft`).
    ifft, "IFFT";
    /// The Fourier transform over the last two dimensions (`tf.signal.fft2d`).
    fft2d, "FFT2D";
    /// The inverse Fourier transform over the last two dimensions (`tf.signal.ifft2d`).
    ifft2d, "IFFT2D";
    /// The Fourier transform over the last three dimensions (`tf.signal.fft3d`).
    fft3d, "FFT3D";
    /// The inverse Fourier transform over the last three dimensions (`tf.signal.ifft3d`).
    ifft3d, "IFFT3D";
}

macro_rules! real_transforms {
    ($($(#[$doc:meta])* $name:ident, $op:literal, $rank:literal, $function:ident;)*) => {
        impl Graph {
            $($(#[$doc])*
            ///
            /// # Errors
            /// `InvalidArgument` for a rank that is too small or other numbers; `Unimplemented` where the input has to be
            /// filled up with zeros and its shape isn't static.
            pub fn $name(&self, input: Output, fft_length: Option<Arg>) -> Result<Output> {
                self.$function(stringify!($name), $op, $rank, input, fft_length)
            })*
        }
    };
}

real_transforms! {
    /// The Fourier transform of real numbers over the last dimension (`tf.signal.rfft`).
    rfft, "RFFT", 1, real_transform;
    /// The Fourier transform of real numbers over the last two dimensions (`tf.signal.rfft2d`).
    rfft2d, "RFFT2D", 2, real_transform;
    /// The Fourier transform of real numbers over the last three dimensions (`tf.signal.rfft3d`).
    rfft3d, "RFFT3D", 3, real_transform;
    /// The inverse transform to real numbers over the last dimension (`tf.signal.irfft`).
    irfft, "IRFFT", 1, inverse_transform;
    /// The inverse transform to real numbers over the last two dimensions (`tf.signal.irfft2d`).
    irfft2d, "IRFFT2D", 2, inverse_transform;
    /// The inverse transform to real numbers over the last three dimensions (`tf.signal.irfft3d`).
    irfft3d, "IRFFT3D", 3, inverse_transform;
}

impl Graph {
    fn real_transform(&self, name: &str, op: &str, rank: usize, input: Output, length: Option<Arg>) -> Result<Output> {
        let dtype = match self.dtype(input)? {
            DType::Float => DType::Complex64,
            DType::Double => DType::Complex128,
            other => bail!(InvalidArgument, "RFFT requires tf.float32 or tf.float64 inputs, got: {other}"),
        };
        let (g, scope) = self.enter(name)?;
        let length = g.transform_length(input, rank, length, false)?;
        let (input, length) = g.filled_up(input, rank, length, false)?;
        g.named(scope.name()).call(op).arg(input).arg(length).attr("Tcomplex", dtype).output()
    }

    fn inverse_transform(&self, name: &str, op: &str, rank: usize, input: Output, length: Option<Arg>) -> Result<Output> {
        let dtype = self.dtype(input)?;
        if !dtype.is_complex() {
            bail!(InvalidArgument, "IRFFT requires tf.complex64 or tf.complex128 inputs, got: {dtype}");
        }
        let (g, scope) = self.enter(name)?;
        let length = g.transform_length(input, rank, length, true)?;
        let (input, length) = g.filled_up(input, rank, length, true)?;
        g.named(scope.name()).call(op).arg(input).arg(length).attr("Treal", dtype.real()).output()
    }

    /// The lengths that are given, or those of the input.
    fn transform_length(&self, input: Output, rank: usize, given: Option<Arg>, inverse: bool) -> Result<Output> {
        if let Some(given) = given {
            return self.convert(&given, Some(DType::Int32), "Const");
        }
        let shape = self.shape(input)?.with_rank_at_least(rank)?.slice_from(-(rank as isize));
        if let Some(dims) = shape.to_dims() {
            let mut lengths: Vec<i32> = dims.iter().map(|&d| d as i32).collect();
            if inverse && let Some(last) = lengths.last_mut() {
                *last = (2 * (*last - 1)).max(0);
            }
            return self.constant(lengths);
        }
        let sizes = self.shape_tensor(input)?;
        let lengths = self.index(sizes, &[(Arg::from(-(rank as i32))..).into()])?;
        if !inverse {
            return Ok(lengths);
        }
        let mut parts = (0..rank).map(|i| self.index(lengths, &[(i as i32).into()])).collect::<Result<Vec<_>>>()?;
        let last = self.sub(parts[rank - 1], 1i32)?;
        parts[rank - 1] = self.maximum(0i32, self.mul(2i32, last)?)?;
        self.stack(&parts, 0)
    }

    /// The input with zeros up to the lengths of the transform, which become a value where they are constant.
    fn filled_up(&self, input: Output, rank: usize, length: Output, inverse: bool) -> Result<(Output, Arg)> {
        let value = self.constant_value(length);
        let shape = self.shape(input)?;
        let arg = value.clone().map_or(Arg::from(length), Arg::from);
        let empty = shape.signed().is_some_and(|d| d.contains(&0));
        let sizes = shape.slice_from(-(rank as isize));
        match (value, sizes.to_dims(), shape.rank()) {
            _ if empty => Ok((input, arg)),
            (Some(value), Some(sizes), Some(total)) => {
                let mut wanted = value.to_dims()?.to_vec();
                if inverse && let Some(last) = wanted.last_mut() {
                    *last = *last / 2 + 1;
                }
                let missing: Vec<i32> = wanted.iter().zip(&sizes).map(|(&w, &s)| w.saturating_sub(s) as i32).collect();
                if missing.iter().all(|&m| m == 0) {
                    return Ok((input, arg));
                }
                let mut paddings = vec![0i32; 2 * (total - rank)];
                paddings.extend(missing.into_iter().flat_map(|m| [0, m]));
                Ok((self.pad(input, Tensor::new(&[total, 2], paddings)?)?, arg))
            }
            _ => {
                let total = self.rank(input)?;
                let own = self.index(self.shape_tensor(input)?, &[(Arg::from(-(rank as i32))..).into()])?;
                let outer = self.maximum(0i32, self.sub(total, rank as i32)?)?;
                let outer = self.zeros(Arg::from([outer]), DType::Int32)?;
                let mut wanted = length;
                if inverse {
                    let first = self.index(wanted, &[(..Arg::from(-1i32)).into()])?;
                    let last = self.index(wanted, &[(Arg::from(-1i32)..).into()])?;
                    let last = self.add(self.floordiv(last, 2i32)?, 1i32)?;
                    wanted = self.concat(&[first.into(), last.into()], 0i32)?;
                }
                let missing = self.maximum(0i32, self.sub(wanted, own)?)?;
                let paddings = self.concat(&[outer.into(), missing.into()], 0i32)?;
                let zeros = self.zeros_like(paddings)?;
                let paddings = self.stack(&[zeros, paddings], 1)?;
                Ok((self.pad(input, paddings)?, arg))
            }
        }
    }
}
