//! The element-wise tail of TensorFlow's LSTM cells.

use super::{check_length, load_part, store_part};
use crate::compute::lanes::{Kernel, Lanes, dispatch};
use crate::compute::math::{MathReal, Sigmoid, Tanh, Unary};
use crate::compute::pool::{SharedMut, parallel_for};

/// Units that one piece of a parallel loop has at least: some microseconds of work.
const GRAIN: usize = 1 << 12;

/// The operands of [`lstm_step`]: `batch` rows of `units` units, and of four times as many gates in the order i, j, f, o.
#[derive(Debug)]
pub struct LstmStep<'a, T> {
    /// The number of units.
    pub units: usize,
    /// `[batch, 4 units]`: the product of input, state and weights.
    pub gates: &'a [T],
    /// `[4 units]`: what is added to each row of the gates, if anything.
    pub bias: Option<&'a [T]>,
    /// What is added to f besides.
    pub forget_bias: T,
    /// `[batch, units]`: the cell before.
    pub c_prev: &'a [T],
    /// `[batch, units]`: receives the cell after.
    pub c: &'a mut [T],
    /// `[batch, units]`: receives the output.
    pub h: &'a mut [T],
    /// `[batch, 4 units]`: receives the gates after their activation, which the gradient needs.
    pub activated: Option<&'a mut [T]>,
}

/// One step of LSTMCell and BasicLSTMCell, after the product:
/// `c = sigmoid(f + forget_bias) c_prev + sigmoid(i) tanh(j)`, `h = sigmoid(o) tanh(c)`.
pub fn lstm_step<T: MathReal>(step: LstmStep<'_, T>) {
    let LstmStep { units, gates, bias, forget_bias, c_prev, c, h, activated } = step;
    let total = c_prev.len();
    check_length("gates", gates, 4 * total);
    check_length("c", c, total);
    check_length("h", h, total);
    if let Some(bias) = bias {
        check_length("bias", bias, 4 * units);
    }
    if let Some(activated) = &activated {
        check_length("activated", activated, 4 * total);
    }
    let (c, h) = (SharedMut(c.as_mut_ptr()), SharedMut(h.as_mut_ptr()));
    let activated = SharedMut(activated.map_or(std::ptr::null_mut(), <[T]>::as_mut_ptr));
    for_row_parts(total, units, |row, first, count| {
        let at = row * units + first;
        // SAFETY: the part lies in the slices, whose lengths were checked, and the parts don't overlap.
        unsafe {
            let gate = row * 4 * units + first;
            let activated = activated.get();
            dispatch(Step {
                units,
                count,
                gates: gates.as_ptr().add(gate),
                bias: bias.map(|bias| bias.as_ptr().add(first)),
                forget_bias,
                c_prev: c_prev.as_ptr().add(at),
                c: c.get().add(at),
                h: h.get().add(at),
                activated: (!activated.is_null()).then(|| activated.add(gate)),
            });
        }
    });
}

/// Calls `body(row, first unit, units)` for parts of rows, split over the current pool.
pub fn for_row_parts(total: usize, units: usize, body: impl Fn(usize, usize, usize) + Sync) {
    if total == 0 {
        return;
    }
    assert!(units > 0 && total.is_multiple_of(units), "{total} elements aren't rows of {units} units");
    if units < GRAIN {
        parallel_for(total / units, GRAIN.div_ceil(units), |rows| rows.for_each(|row| body(row, 0, units)));
    } else {
        // Parts begin at multiples of 64, so that no two write to one cache line.
        let parts = units.div_ceil(64);
        for row in 0..total / units {
            parallel_for(parts, GRAIN / 64, |part| {
                let (first, end) = (part.start * 64, (part.end * 64).min(units));
                body(row, first, end - first);
            });
        }
    }
}

struct Step<T> {
    units: usize,
    count: usize,
    gates: *const T,
    bias: Option<*const T>,
    forget_bias: T,
    c_prev: *const T,
    c: *mut T,
    h: *mut T,
    activated: Option<*mut T>,
}

impl<T: MathReal> Kernel<T> for Step<T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<Elem = T>>(self, l: L) {
        let mut at = 0;
        while at < self.count {
            let count = self.count - at;
            // SAFETY: `count` units are left in each of the slices that the value was made from.
            unsafe {
                let mut gates = [l.splat(T::zero()); 4];
                for gate in 0..4 {
                    gates[gate] = load_part(l, self.gates.add(gate * self.units + at), count);
                    if let Some(bias) = self.bias {
                        gates[gate] = l.add(gates[gate], load_part(l, bias.add(gate * self.units + at), count));
                    }
                }
                let i = Sigmoid.eval(l, gates[0]);
                let j = Tanh.eval(l, gates[1]);
                let f = Sigmoid.eval(l, l.add(gates[2], l.splat(self.forget_bias)));
                let o = Sigmoid.eval(l, gates[3]);
                let c = l.add(l.mul(load_part(l, self.c_prev.add(at), count), f), l.mul(i, j));
                store_part(l, self.c.add(at), c, count);
                store_part(l, self.h.add(at), l.mul(Tanh.eval(l, c), o), count);
                if let Some(activated) = self.activated {
                    for (gate, value) in [i, j, f, o].into_iter().enumerate() {
                        store_part(l, activated.add(gate * self.units + at), value, count);
                    }
                }
            }
            at += L::N;
        }
    }
}

/// The operands of [`lstm_gradient`], shaped as in [`LstmStep`].
#[derive(Debug)]
pub struct LstmGradient<'a, T> {
    /// The number of units.
    pub units: usize,
    /// The activated gates of the step.
    pub activated: &'a [T],
    /// The cell before.
    pub c_prev: &'a [T],
    /// The cell after.
    pub c: &'a [T],
    /// The gradient with respect to the cell after, from the next step.
    pub dc: &'a [T],
    /// The gradient with respect to the output.
    pub dh: &'a [T],
    /// `[batch, 4 units]`: receives the gradient with respect to the gates.
    pub dgates: &'a mut [T],
    /// `[batch, units]`: receives the gradient with respect to the cell before.
    pub dc_prev: &'a mut [T],
}

/// The gradient of [`lstm_step`].
pub fn lstm_gradient<T: MathReal>(gradient: LstmGradient<'_, T>) {
    let LstmGradient { units, activated, c_prev, c, dc, dh, dgates, dc_prev } = gradient;
    let total = c_prev.len();
    check_length("activated", activated, 4 * total);
    check_length("c", c, total);
    check_length("dc", dc, total);
    check_length("dh", dh, total);
    check_length("dgates", dgates, 4 * total);
    check_length("dc_prev", dc_prev, total);
    let (dgates, dc_prev) = (SharedMut(dgates.as_mut_ptr()), SharedMut(dc_prev.as_mut_ptr()));
    for_row_parts(total, units, |row, first, count| {
        let at = row * units + first;
        // SAFETY: the part lies in the slices, whose lengths were checked, and the parts don't overlap.
        unsafe {
            dispatch(Gradient {
                units,
                count,
                activated: activated.as_ptr().add(row * 4 * units + first),
                c_prev: c_prev.as_ptr().add(at),
                c: c.as_ptr().add(at),
                dc: dc.as_ptr().add(at),
                dh: dh.as_ptr().add(at),
                dgates: dgates.get().add(row * 4 * units + first),
                dc_prev: dc_prev.get().add(at),
            });
        }
    });
}

struct Gradient<T> {
    units: usize,
    count: usize,
    activated: *const T,
    c_prev: *const T,
    c: *const T,
    dc: *const T,
    dh: *const T,
    dgates: *mut T,
    dc_prev: *mut T,
}

impl<T: MathReal> Kernel<T> for Gradient<T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<Elem = T>>(self, l: L) {
        let one = l.splat(T::one());
        let mut at = 0;
        while at < self.count {
            let count = self.count - at;
            // SAFETY: `count` units are left in each of the slices that the value was made from.
            unsafe {
                let mut gates = [one; 4];
                for gate in 0..4 {
                    gates[gate] = load_part(l, self.activated.add(gate * self.units + at), count);
                }
                let [i, j, f, o] = gates;
                let c_prev = load_part(l, self.c_prev.add(at), count);
                let tanh_c = Tanh.eval(l, load_part(l, self.c.add(at), count));
                let dh = load_part(l, self.dh.add(at), count);
                let through_h = l.mul(l.mul(dh, o), l.neg_mul_add(tanh_c, tanh_c, one));
                let dc = l.add(load_part(l, self.dc.add(at), count), through_h);
                let of_sigmoid = |dy, y| l.mul(dy, l.mul(y, l.sub(one, y)));
                let dgates = [
                    of_sigmoid(l.mul(dc, j), i),
                    l.mul(l.mul(dc, i), l.neg_mul_add(j, j, one)),
                    of_sigmoid(l.mul(dc, c_prev), f),
                    of_sigmoid(l.mul(dh, tanh_c), o),
                ];
                for (gate, value) in dgates.into_iter().enumerate() {
                    store_part(l, self.dgates.add(gate * self.units + at), value, count);
                }
                store_part(l, self.dc_prev.add(at), l.mul(dc, f), count);
            }
            at += L::N;
        }
    }
}
