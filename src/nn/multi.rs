//! Cells one upon the other.

use super::cell::{CallScope, RNNCell, batch_of};
use super::layer::Layer;
use super::nested::{Nested, State};
use super::sizes;
use crate::error::{Result, bail};
use crate::graph::{Graph, Output};
use crate::ops::convert::Arg;
use crate::tensor::{DType, Shape};
use crate::train::Variable;

/// Stacked cells, each of which takes the output of the one before (`tf.nn.rnn_cell.MultiRNNCell`).
pub struct MultiRNNCell {
    cells: Vec<Box<dyn RNNCell>>,
    state_is_tuple: bool,
    layer: Layer,
    scope: CallScope,
}

impl MultiRNNCell {
    /// A stack of cells, the first one below.
    ///
    /// # Errors
    /// `InvalidArgument` if there are no cells.
    pub fn new(cells: Vec<Box<dyn RNNCell>>) -> Result<MultiRNNCell> {
        if cells.is_empty() {
            bail!(InvalidArgument, "Must specify at least one cell for MultiRNNCell.");
        }
        Ok(MultiRNNCell { cells, state_is_tuple: true, layer: Layer::new("multi_rnn_cell"), scope: CallScope::default() })
    }

    /// The states side by side in one matrix, in place of a tuple.
    ///
    /// # Errors
    /// `InvalidArgument` where a cell's state has several parts.
    pub fn with_joined_state(mut self) -> Result<MultiRNNCell> {
        if self.cells.iter().any(|cell| !matches!(cell.state_size(), Nested::One(_))) {
            bail!(InvalidArgument, "Some cells return tuples of states, but the flag state_is_tuple is not set.");
        }
        self.state_is_tuple = false;
        Ok(self)
    }

    /// The cells.
    pub fn cells(&self) -> &[Box<dyn RNNCell>] {
        &self.cells
    }

    fn step(&self, g: &Graph, inputs: Output, state: &State) -> Result<(Output, State)> {
        let (mut inputs, mut place, mut next) = (inputs, 0i32, Vec::with_capacity(self.cells.len()));
        if self.state_is_tuple && state.items()?.len() != self.cells.len() {
            bail!(
                InvalidArgument,
                "Expected state to be a tuple of length {}, but received {}",
                self.cells.len(),
                state.items()?.len()
            );
        }
        for (i, cell) in self.cells.iter().enumerate() {
            let _scope = g.variable_scope(&format!("cell_{i}"))?;
            let state = if self.state_is_tuple {
                state.items()?[i].clone()
            } else {
                let size = width(cell.as_ref())? as i32;
                let part = g.slice(state.tensor()?, [0i32, place], [-1i32, size])?;
                place += size;
                part.into()
            };
            let (output, new_state) = cell.call(g, inputs, &state)?;
            inputs = output;
            next.push(new_state);
        }
        if self.state_is_tuple {
            return Ok((inputs, next.into()));
        }
        let parts = next.iter().map(|state| state.tensor().map(Arg::from)).collect::<Result<Vec<Arg>>>()?;
        Ok((inputs, g.concat(&parts, 1i32)?.into()))
    }
}

/// The size of a state of one part.
fn width(cell: &dyn RNNCell) -> Result<usize> {
    match cell.state_size() {
        Nested::One(shape) if shape.rank() == Some(1) => {
            shape.dim(0).ok_or_else(|| crate::Error::invalid_argument("the size of a cell's state must be known"))
        }
        _ => bail!(InvalidArgument, "the state of a cell is no vector"),
    }
}

impl RNNCell for MultiRNNCell {
    fn class_name(&self) -> &'static str {
        "MultiRNNCell"
    }

    fn state_size(&self) -> Nested<Shape> {
        if self.state_is_tuple {
            return Nested::Tuple(self.cells.iter().map(|cell| cell.state_size()).collect());
        }
        let total: Option<usize> = self.cells.iter().map(|cell| width(cell.as_ref()).ok()).sum();
        Nested::One(Shape::from([total]))
    }

    fn output_size(&self) -> Shape {
        self.cells.last().map_or_else(Shape::unknown, |cell| cell.output_size())
    }

    fn variables(&self) -> Vec<Variable> {
        self.cells.iter().flat_map(|cell| cell.variables()).collect()
    }

    fn zero_state(&self, g: &Graph, batch_size: &Arg, dtype: DType) -> Result<State> {
        let _names = g.name_scope("MultiRNNCellZeroState")?;
        if self.state_is_tuple {
            let states = self.cells.iter().map(|cell| cell.zero_state(g, batch_size, dtype)).collect::<Result<Vec<_>>>()?;
            return Ok(states.into());
        }
        let _names = g.name_scope("MultiRNNCellZeroState")?;
        sizes::zero_state(g, &self.state_size(), batch_of(batch_size)?, dtype)
    }

    fn call(&self, g: &Graph, inputs: Output, state: &State) -> Result<(Output, State)> {
        let _scope = self.scope.enter(g)?;
        self.layer.call(g, inputs, |_, _| Ok(()), |g| self.step(g, inputs, state))
    }
}
