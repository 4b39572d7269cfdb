//! The element-wise parts of TensorFlow's GRUCell.
//!
//! `r, u = sigmoid([x, h] W + b)`, `c = tanh([x, r h] W' + b')`, `h' = u h + (1 - u) c`: one part after each product.

use super::lstm::for_row_parts;
use super::{check_length, load_part, store_part};
use crate::compute::lanes::{Kernel, Lanes, dispatch};
use crate::compute::math::{MathReal, Sigmoid, Tanh, Unary};
use crate::compute::pool::SharedMut;

/// After the first product: `gates`, `[batch, 2 units]` in the order r, u, become their sigmoids after `bias`, `[2 units]`, is added,
/// and `r_h`, `[batch, units]`, receives `r h`.
pub fn gru_gates<T: MathReal>(units: usize, gates: &mut [T], bias: Option<&[T]>, h: &[T], r_h: &mut [T]) {
    check_length("gates", gates, 2 * h.len());
    check_length("r_h", r_h, h.len());
    if let Some(bias) = bias {
        check_length("bias", bias, 2 * units);
    }
    let (gates, r_h) = (SharedMut(gates.as_mut_ptr()), SharedMut(r_h.as_mut_ptr()));
    for_row_parts(h.len(), units, |row, first, count| {
        let at = row * units + first;
        // SAFETY: the part lies in the slices, whose lengths were checked, and the parts don't overlap.
        unsafe {
            dispatch(Gates {
                units,
                count,
                gates: gates.get().add(row * 2 * units + first),
                bias: bias.map(|bias| bias.as_ptr().add(first)),
                h: h.as_ptr().add(at),
                r_h: r_h.get().add(at),
            });
        }
    });
}

struct Gates<T> {
    units: usize,
    count: usize,
    gates: *mut T,
    bias: Option<*const T>,
    h: *const T,
    r_h: *mut T,
}

impl<T: MathReal> Kernel<T> for Gates<T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<Elem = T>>(self, l: L) {
        let mut at = 0;
        while at < self.count {
            let count = self.count - at;
            // SAFETY: `count` units are left in each of the slices that the value was made from.
            unsafe {
                let mut gates = [l.splat(T::zero()); 2];
                for gate in 0..2 {
                    let mut value = load_part(l, self.gates.add(gate * self.units + at), count);
                    if let Some(bias) = self.bias {
                        value = l.add(value, load_part(l, bias.add(gate * self.units + at), count));
                    }
                    gates[gate] = Sigmoid.eval(l, value);
                    store_part(l, self.gates.add(gate * self.units + at), gates[gate], count);
                }
                store_part(l, self.r_h.add(at), l.mul(gates[0], load_part(l, self.h.add(at), count)), count);
            }
            at += L::N;
        }
    }
}

/// After the second product: `candidate`, `[batch, units]`, becomes its hyperbolic tangent after `bias`, `[units]`, is added, and
/// `new_h`, `[batch, units]`, receives `u h + (1 - u) c`, where u is in `gates` as [`gru_gates`] left them.
pub fn gru_output<T: MathReal>(units: usize, gates: &[T], candidate: &mut [T], bias: Option<&[T]>, h: &[T], new_h: &mut [T]) {
    check_length("gates", gates, 2 * h.len());
    check_length("candidate", candidate, h.len());
    check_length("new_h", new_h, h.len());
    if let Some(bias) = bias {
        check_length("bias", bias, units);
    }
    let (candidate, new_h) = (SharedMut(candidate.as_mut_ptr()), SharedMut(new_h.as_mut_ptr()));
    for_row_parts(h.len(), units, |row, first, count| {
        let at = row * units + first;
        // SAFETY: the part lies in the slices, whose lengths were checked, and the parts don't overlap.
        unsafe {
            dispatch(Output {
                count,
                u: gates.as_ptr().add((2 * row + 1) * units + first),
                candidate: candidate.get().add(at),
                bias: bias.map(|bias| bias.as_ptr().add(first)),
                h: h.as_ptr().add(at),
                new_h: new_h.get().add(at),
            });
        }
    });
}

struct Output<T> {
    count: usize,
    u: *const T,
    candidate: *mut T,
    bias: Option<*const T>,
    h: *const T,
    new_h: *mut T,
}

impl<T: MathReal> Kernel<T> for Output<T> {
    type Output = ();

    #[inline(always)]
    fn run<L: Lanes<Elem = T>>(self, l: L) {
        let one = l.splat(T::one());
        let mut at = 0;
        while at < self.count {
            let count = self.count - at;
            // SAFETY: `count` units are left in each of the slices that the value was made from.
            unsafe {
                let mut c = load_part(l, self.candidate.add(at), count);
                if let Some(bias) = self.bias {
                    c = l.add(c, load_part(l, bias.add(at), count));
                }
                let c = Tanh.eval(l, c);
                store_part(l, self.candidate.add(at), c, count);
                let (u, h) = (load_part(l, self.u.add(at), count), load_part(l, self.h.add(at), count));
                let new_h = l.add(l.mul(u, h), l.mul(l.sub(one, u), c));
                store_part(l, self.new_h.add(at), new_h, count);
            }
            at += L::N;
        }
    }
}

/// The operands of [`gru_output_gradient`], shaped as in [`gru_output`].
#[derive(Debug)]
pub struct GruOutputGradient<'a, T> {
    /// The number of units.
    pub units: usize,
    /// The gates r, u of the step.
    pub gates: &'a [T],
    /// The candidate c of the step.
    pub candidate: &'a [T],
    /// The state before.
    pub h: &'a [T],
    /// The gradient with respect to the state after.
    pub dnew_h: &'a [T],
    /// `[batch, 2 units]`: receives, in its u half, the gradient with respect to the gates before their sigmoid.
    pub dgates: &'a mut [T],
    /// `[batch, units]`: receives the gradient with respect to the candidate before its hyperbolic tangent.
    pub dcandidate: &'a mut [T],
    /// `[batch, units]`: receives the part of the gradient with respect to the state before that doesn't go through a product.
    pub dh: &'a mut [T],
}

/// The gradient of [`gru_output`].
pub fn gru_output_gradient<T: MathReal>(gradient: GruOutputGradient<'_, T>) {
    let GruOutputGradient { units, gates, candidate, h, dnew_h, dgates, dcandidate, dh } = gradient;
    check_length("gates", gates, 2 * h.len());
    check_length("candidate", candidate, h.len());
    check_length("dnew_h", dnew_h, h.len());
    check_length("dgates", dgates, 2 * h.len());
    check_length("dcandidate", dcandidate, h.len());
    check_length("dh", dh, h.len());
    let one = T::one();
    for (row, dgates) in dgates.chunks_exact_mut(2 * units.max(1)).enumerate() {
        let span = row * units..(row + 1) * units;
        let u = &gates[(2 * row + 1) * units..][..units];
        let inputs = u.iter().zip(&candidate[span.clone()]).zip(&h[span.clone()]).zip(&dnew_h[span.clone()]);
        let outputs = dgates[units..].iter_mut().zip(&mut dcandidate[span.clone()]).zip(&mut dh[span]);
        for ((((u, c), h), dnew_h), ((du, dc), dh)) in inputs.zip(outputs) {
            *du = *dnew_h * (*h - *c) * (*u * (one - *u));
            *dc = *dnew_h * (one - *u) * (one - *c * *c);
            *dh = *dnew_h * *u;
        }
    }
}

/// The operands of [`gru_gates_gradient`], shaped as in [`gru_gates`].
#[derive(Debug)]
pub struct GruGatesGradient<'a, T> {
    /// The number of units.
    pub units: usize,
    /// The gates r, u of the step.
    pub gates: &'a [T],
    /// The state before.
    pub h: &'a [T],
    /// The gradient with respect to `r h`.
    pub dr_h: &'a [T],
    /// `[batch, 2 units]`: receives, in its r half, the gradient with respect to the gates before their sigmoid.
    pub dgates: &'a mut [T],
    /// `[batch, units]`: the gradient with respect to the state before, to which `r dr_h` is added.
    pub dh: &'a mut [T],
}

/// The gradient of [`gru_gates`].
pub fn gru_gates_gradient<T: MathReal>(gradient: GruGatesGradient<'_, T>) {
    let GruGatesGradient { units, gates, h, dr_h, dgates, dh } = gradient;
    check_length("gates", gates, 2 * h.len());
    check_length("dr_h", dr_h, h.len());
    check_length("dgates", dgates, 2 * h.len());
    check_length("dh", dh, h.len());
    let one = T::one();
    for (row, dgates) in dgates.chunks_exact_mut(2 * units.max(1)).enumerate() {
        let span = row * units..(row + 1) * units;
        let inputs = gates[2 * row * units..][..units].iter().zip(&h[span.clone()]).zip(&dr_h[span.clone()]);
        for (((r, h), dr_h), (dr, dh)) in inputs.zip(dgates[..units].iter_mut().zip(&mut dh[span])) {
            *dr = *dr_h * *h * (*r * (one - *r));
            *dh += *dr_h * *r;
        }
    }
}
