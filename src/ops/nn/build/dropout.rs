//! Dropout.

use crate::error::{Result, bail};
use crate::graph::{Graph, Output};
use crate::ops::convert::{Arg, cast_value};
use crate::ops::random::RandomOptions;
use crate::tensor::{Shape, Tensor};

impl Graph {
    /// Sets elements to zero with probability `rate`, a number or a scalar tensor, and divides the others by `1 - rate`
    /// (`tf.nn.dropout`).
    ///
    /// # Errors
    /// `InvalidArgument` for a rate that isn't within 0 and 1, or a dtype that isn't floating-point.
    pub fn dropout(&self, x: Output, rate: impl Into<Arg>, seed: Option<i64>) -> Result<Output> {
        self.dropout_with(x, rate, None, seed)
    }

    /// The same, where elements along dimensions in which `noise_shape` is 1 are dropped together.
    ///
    /// # Errors
    /// As [`Graph::dropout`].
    pub fn dropout_with(&self, x: Output, rate: impl Into<Arg>, noise_shape: Option<Arg>, seed: Option<i64>) -> Result<Output> {
        let (g, _scope) = self.enter("dropout")?;
        let dtype = g.dtype(x)?;
        if !dtype.is_floating() {
            bail!(InvalidArgument, "`x.dtype` must be a floating point tensor as `x` will be scaled. Received: x_dtype={dtype}");
        }
        let rate = rate.into();
        let (scaled, rate): (Output, Arg) = match rate.output() {
            Some(rate) => {
                g.shape(rate)?.with_rank(0)?;
                let cast = g.dtype(rate)? != dtype;
                let rate = if cast { g.op("Cast").name("rate").input(rate).attr("DstT", dtype).output()? } else { rate };
                let one = g.constant(cast_value(&Tensor::scalar(1i32), dtype)?)?;
                let keep = g.op("Sub").input(one).input(rate).output()?;
                (g.op("RealDiv").input(x).input(keep).output()?, rate.into())
            }
            None => {
                let value = number(&rate)?;
                if !(0.0..1.0).contains(&value) {
                    bail!(
                        InvalidArgument,
                        "`rate` must be a scalar tensor or a float in the range [0, 1). Received: rate={value}"
                    );
                }
                if value == 0.0 {
                    g.get_seed(seed);
                    return Ok(x);
                }
                let scale = g.constant(cast_value(&Tensor::scalar(1.0 / (1.0 - value)), dtype)?)?;
                (g.op("Mul").input(x).input(scale).output()?, Arg::from(value))
            }
        };
        let shape = g.shape(x)?;
        let noise = match noise_shape {
            None => g.shape_tensor(x)?.into(),
            Some(noise) => completed(&noise, &shape)?,
        };
        let random = g.random_uniform(noise, 0i32, 1i32, RandomOptions { dtype, seed })?;
        let keep = g.call("GreaterEqual").arg(random).arg(rate).output()?;
        let zero = g.constant(cast_value(&Tensor::scalar(0i32), dtype)?)?;
        let dropped = g.op("SelectV2").input(keep).input(scaled).input(zero).output()?;
        g.set_shape(dropped, shape)?;
        Ok(dropped)
    }
}

/// A number as a float.
fn number(value: &Arg) -> Result<f64> {
    match value.value()? {
        Some(value) => cast_value(&value, crate::tensor::DType::Double)?.item::<f64>(),
        None => bail!(InvalidArgument, "`rate` must be a scalar or scalar tensor."),
    }
}

/// The noise's shape with unknown sizes (-1) taken from the input.
fn completed(noise: &Arg, shape: &Shape) -> Result<Arg> {
    let Some(value) = noise.value()? else { return Ok(noise.clone()) };
    let sizes = value.to_i64s()?;
    let Some(own) = shape.signed().filter(|own| own.len() == sizes.len()) else { return Ok(noise.clone()) };
    let filled = sizes.iter().zip(own).map(|(&size, &own)| if size < 0 && own >= 0 { own as i32 } else { size as i32 });
    Ok(Arg::from(filled.collect::<Vec<i32>>()))
}
