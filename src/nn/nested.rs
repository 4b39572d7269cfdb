//! The state of a cell: a tensor, the two tensors of an LSTM, or a tuple of states.

use crate::control_flow::{Leaf, Nest};
use crate::error::{Result, bail};
use crate::graph::Output;

/// The state of an LSTM: `c`, the memory, and `h`, the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LSTMStateTuple<T = Output> {
    /// The memory.
    pub c: T,
    /// The output.
    pub h: T,
}

/// A structure of parts: that of a cell's state, or of the sizes of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Nested<T> {
    /// A single part.
    One(T),
    /// The state of an LSTM.
    Lstm(LSTMStateTuple<T>),
    /// A tuple of structures, as the state of stacked cells is.
    Tuple(Vec<Nested<T>>),
}

/// The state of a cell.
pub type State = Nested<Output>;

impl<T: Clone> Nested<T> {
    /// The parts in order.
    pub fn flatten(&self) -> Vec<T> {
        match self {
            Nested::One(part) => vec![part.clone()],
            Nested::Lstm(LSTMStateTuple { c, h }) => vec![c.clone(), h.clone()],
            Nested::Tuple(items) => items.iter().flat_map(Nested::flatten).collect(),
        }
    }

    /// The same structure of other parts, given in order.
    ///
    /// # Errors
    /// `InvalidArgument` if there are too few parts.
    pub fn pack<U: Clone>(&self, parts: &mut impl Iterator<Item = U>) -> Result<Nested<U>> {
        let mut next = || match parts.next() {
            Some(part) => Ok(part),
            None => bail!(InvalidArgument, "a structure has more parts than were given"),
        };
        Ok(match self {
            Nested::One(_) => Nested::One(next()?),
            Nested::Lstm(_) => Nested::Lstm(LSTMStateTuple { c: next()?, h: next()? }),
            Nested::Tuple(items) => {
                let parts: &mut dyn Iterator<Item = U> = parts;
                Nested::Tuple(items.iter().map(|item| item.pack_dyn(parts)).collect::<Result<_>>()?)
            }
        })
    }

    fn pack_dyn<U: Clone>(&self, mut parts: &mut dyn Iterator<Item = U>) -> Result<Nested<U>> {
        self.pack(&mut parts)
    }

    /// The same structure, each part made from that of its place.
    ///
    /// # Errors
    /// What the function returns.
    pub fn try_map<U: Clone>(&self, function: &mut dyn FnMut(&T) -> Result<U>) -> Result<Nested<U>> {
        Ok(match self {
            Nested::One(part) => Nested::One(function(part)?),
            Nested::Lstm(LSTMStateTuple { c, h }) => Nested::Lstm(LSTMStateTuple { c: function(c)?, h: function(h)? }),
            Nested::Tuple(items) => Nested::Tuple(items.iter().map(|item| item.try_map(function)).collect::<Result<_>>()?),
        })
    }

    /// True where the other has parts at the same places.
    pub fn is_like<U>(&self, other: &Nested<U>) -> bool {
        match (self, other) {
            (Nested::One(_), Nested::One(_)) | (Nested::Lstm(_), Nested::Lstm(_)) => true,
            (Nested::Tuple(a), Nested::Tuple(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.is_like(b)),
            _ => false,
        }
    }
}

impl State {
    /// The only tensor.
    ///
    /// # Errors
    /// `InvalidArgument` for a state of several parts.
    pub fn tensor(&self) -> Result<Output> {
        match self {
            Nested::One(output) => Ok(*output),
            other => bail!(InvalidArgument, "expected a state of one tensor, got {} parts", other.flatten().len()),
        }
    }

    /// The state of an LSTM; a tuple of two tensors counts as one.
    ///
    /// # Errors
    /// `InvalidArgument` for any other state.
    pub fn lstm(&self) -> Result<LSTMStateTuple> {
        match self {
            Nested::Lstm(tuple) => Ok(*tuple),
            Nested::Tuple(items) => match items[..] {
                [Nested::One(c), Nested::One(h)] => Ok(LSTMStateTuple { c, h }),
                _ => bail!(InvalidArgument, "expected the state (c, h) of an LSTM, got a tuple of {} states", items.len()),
            },
            Nested::One(_) => bail!(InvalidArgument, "expected the state (c, h) of an LSTM, got a single tensor"),
        }
    }

    /// The states of stacked cells.
    ///
    /// # Errors
    /// `InvalidArgument` for a state that is no tuple.
    pub fn items(&self) -> Result<&[State]> {
        match self {
            Nested::Tuple(items) => Ok(items),
            _ => bail!(InvalidArgument, "expected a tuple of states, got the state of one cell"),
        }
    }
}

impl From<Output> for State {
    fn from(output: Output) -> State {
        Nested::One(output)
    }
}

impl<T> From<LSTMStateTuple<T>> for Nested<T> {
    fn from(tuple: LSTMStateTuple<T>) -> Nested<T> {
        Nested::Lstm(tuple)
    }
}

impl<T> From<Vec<Nested<T>>> for Nested<T> {
    fn from(items: Vec<Nested<T>>) -> Nested<T> {
        Nested::Tuple(items)
    }
}

impl Nest for State {
    fn flatten_into(&self, leaves: &mut Vec<Leaf>) {
        leaves.extend(self.flatten().into_iter().map(Leaf::Tensor));
    }

    fn rebuild(&self, leaves: &mut dyn Iterator<Item = Leaf>) -> Result<State> {
        self.try_map(&mut |output| output.rebuild(leaves))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_flatten_and_pack() {
        let state = Nested::Tuple(vec![Nested::Lstm(LSTMStateTuple { c: 1, h: 2 }), Nested::One(3)]);
        assert_eq!(state.flatten(), [1, 2, 3]);
        let packed = state.pack(&mut ["a", "b", "c"].into_iter()).unwrap();
        assert_eq!(packed, Nested::Tuple(vec![Nested::Lstm(LSTMStateTuple { c: "a", h: "b" }), Nested::One("c")]));
        assert!(packed.is_like(&state));
        assert!(!packed.is_like(&Nested::One(1)));
        assert!(state.pack(&mut ["a"].into_iter()).is_err());
    }
}
