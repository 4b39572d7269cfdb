//! Softmax along any dimension.

use crate::error::{Result, bail};
use crate::graph::{Graph, Output};
use crate::ops::convert::Arg;
use crate::ops::nn::python::{add, range};

impl Graph {
    /// Softmax along the last dimension (`tf.nn.softmax`).
    ///
    /// # Errors
    /// `InvalidArgument` for a scalar, or a dtype that isn't floating-point.
    pub fn softmax(&self, logits: Output) -> Result<Output> {
        self.softmax_along(logits, -1)
    }

    /// Softmax along a dimension; any but the last is exchanged with it by transposition.
    ///
    /// # Errors
    /// As [`Graph::softmax`], and for an axis out of range.
    pub fn softmax_along(&self, logits: Output, axis: i32) -> Result<Output> {
        self.along("Softmax", logits, axis)
    }

    /// The logarithm of softmax along the last dimension (`tf.nn.log_softmax`).
    ///
    /// # Errors
    /// As [`Graph::softmax`].
    pub fn log_softmax(&self, logits: Output) -> Result<Output> {
        self.log_softmax_along(logits, -1)
    }

    /// The logarithm of softmax along a dimension.
    ///
    /// # Errors
    /// As [`Graph::softmax_along`].
    pub fn log_softmax_along(&self, logits: Output, axis: i32) -> Result<Output> {
        self.along("LogSoftmax", logits, axis)
    }

    fn along(&self, op: &str, logits: Output, axis: i32) -> Result<Output> {
        let shape = self.shape(logits)?;
        let last = shape.rank().map(|r| r as i32 - 1);
        if axis == -1 || Some(axis) == last {
            return self.op(op).input(logits).output();
        }
        let Some(rank) = shape.rank().map(|r| r as i32) else {
            bail!(InvalidArgument, "the rank of the logits must be known for another dimension than the last");
        };
        if axis < -rank || axis >= rank {
            bail!(InvalidArgument, "`dim` must be in the range [{}, {rank}), received {axis}", -rank);
        }
        let g = self.plain();
        let dynamic_rank = g.rank(logits)?;
        let axis: Arg = if axis < 0 { add(&g, axis, dynamic_rank)?.into() } else { axis.into() };
        let input_rank = g.rank(logits)?;
        let axis: Arg = match axis.output() {
            Some(axis) => g.operator("mod", "FloorMod", axis, rank)?.into(),
            None => axis,
        };
        let swapped = |tensor: Output, name: Option<&str>| -> Result<Output> {
            let last = g.call("Sub").arg(input_rank).arg(1i32).output()?;
            let before = range(&g, 0i32, axis.clone())?;
            let after = match axis.output() {
                Some(axis) => add(&g, axis, 1i32)?.into(),
                None => Arg::from(axis.value()?.map_or(Ok(0), |v| v.item::<i32>())? + 1),
            };
            let between = range(&g, after, last)?;
            let parts = [before.into(), [last].into(), between.into(), Arg::List(vec![axis.clone()])];
            let order = g.concat(&parts, 0i32)?;
            let named = name.map_or_else(|| g.clone(), |name| g.named(name));
            named.transpose(tensor, Some(order.into()))
        };
        let input = swapped(logits, None)?;
        let output = g.op(op).input(input).output()?;
        let name = self.name_or("transpose").to_string();
        let output = swapped(output, Some(&name))?;
        g.set_shape(output, shape)?;
        Ok(output)
    }
}
