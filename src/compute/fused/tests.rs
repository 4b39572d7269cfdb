use super::*;
use crate::compute::level::tests::at_every_level;

/// Numbers between -1.5 and 1.5 without a pattern.
fn data(length: usize, seed: usize) -> Vec<f64> {
    (0..length).map(|i| (((i + 1) * (2 * seed + 7) * 7919) % 1000) as f64 / 333.0 - 1.5).collect()
}

fn narrow(x: &[f64]) -> Vec<f32> {
    x.iter().map(|x| *x as f32).collect()
}

fn assert_close(what: &str, got: &[f32], expected: &[f64]) {
    assert_eq!(got.len(), expected.len(), "{what}");
    for (i, (got, expected)) in got.iter().zip(expected).enumerate() {
        let error = (f64::from(*got) - expected).abs();
        assert!(error <= 1e-6 * (1.0 + expected.abs()), "{what}[{i}]: {got}, expected {expected}");
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// c, h, activated gates.
fn plain_lstm(units: usize, gates: &[f64], bias: &[f64], forget_bias: f64, c_prev: &[f64]) -> [Vec<f64>; 3] {
    let (mut c, mut h, mut activated) = (vec![], vec![], vec![0.0; gates.len()]);
    for at in 0..c_prev.len() {
        let (row, unit) = (at / units, at % units);
        let place = |gate: usize| row * 4 * units + gate * units + unit;
        let gate = |gate: usize| gates[place(gate)] + bias[gate * units + unit];
        let values = [sigmoid(gate(0)), gate(1).tanh(), sigmoid(gate(2) + forget_bias), sigmoid(gate(3))];
        values.into_iter().enumerate().for_each(|(gate, value)| activated[place(gate)] = value);
        let [i, j, f, o] = values;
        c.push(f * c_prev[at] + i * j);
        h.push(o * c[at].tanh());
    }
    [c, h, activated]
}

const SHAPES: [(usize, usize); 7] = [(0, 3), (1, 1), (1, 7), (2, 16), (3, 33), (1, 100), (2, 4500)];

#[test]
fn lstm_steps() {
    at_every_level(|| {
        for (batch, units) in SHAPES {
            let (gates, bias, c_prev) = (data(batch * 4 * units, 1), data(4 * units, 2), data(batch * units, 3));
            for with_bias in [false, true] {
                let used = if with_bias { bias.clone() } else { vec![0.0; 4 * units] };
                let [expected_c, expected_h, expected_gates] = plain_lstm(units, &gates, &used, 0.75, &c_prev);
                let (mut c, mut h) = (vec![0.0; batch * units], vec![0.0; batch * units]);
                let mut activated = vec![0.0; batch * 4 * units];
                let (gates, bias, c_prev) = (narrow(&gates), narrow(&bias), narrow(&c_prev));
                let bias = with_bias.then_some(&bias[..]);
                for kept in [true, false] {
                    lstm_step(LstmStep {
                        units,
                        gates: &gates,
                        bias,
                        forget_bias: 0.75,
                        c_prev: &c_prev,
                        c: &mut c,
                        h: &mut h,
                        activated: kept.then_some(&mut activated[..]),
                    });
                    assert_close("c", &c, &expected_c);
                    assert_close("h", &h, &expected_h);
                    assert_close("activated", &activated, &expected_gates);
                }
            }
        }
    });
}

#[test]
fn lstm_gradients_are_those_of_differences() {
    at_every_level(|| {
        for (batch, units) in [(1, 5), (3, 17)] {
            let total = batch * units;
            let (gates, c_prev) = (data(4 * total, 1), data(total, 3));
            let (dc, dh, bias) = (data(total, 4), data(total, 5), vec![0.0; 4 * units]);
            let value = |gates: &[f64], c_prev: &[f64]| -> f64 {
                let [c, h, _] = plain_lstm(units, gates, &bias, 1.0, c_prev);
                (0..total).map(|at| c[at] * dc[at] + h[at] * dh[at]).sum()
            };
            let difference = |values: &[f64], at: usize, value: &dyn Fn(&[f64]) -> f64| {
                let (mut more, mut less) = (values.to_vec(), values.to_vec());
                (more[at], less[at]) = (more[at] + 1e-4, less[at] - 1e-4);
                (value(&more) - value(&less)) / 2e-4
            };
            let expected_gates: Vec<f64> =
                (0..4 * total).map(|at| difference(&gates, at, &|gates| value(gates, &c_prev))).collect();
            let expected_c: Vec<f64> = (0..total).map(|at| difference(&c_prev, at, &|c_prev| value(&gates, c_prev))).collect();
            let [c, _, activated] = plain_lstm(units, &gates, &bias, 1.0, &c_prev);
            let (mut dgates, mut dc_prev) = (vec![0.0; 4 * total], vec![0.0; total]);
            lstm_gradient(LstmGradient {
                units,
                activated: &narrow(&activated),
                c_prev: &narrow(&c_prev),
                c: &narrow(&c),
                dc: &narrow(&dc),
                dh: &narrow(&dh),
                dgates: &mut dgates,
                dc_prev: &mut dc_prev,
            });
            assert_close("dgates", &dgates, &expected_gates);
            assert_close("dc_prev", &dc_prev, &expected_c);
        }
    });
}

#[test]
fn gru_steps_and_gradients() {
    at_every_level(|| {
        for (batch, units) in SHAPES {
            let total = batch * units;
            let (gates, bias, h, candidate) = (data(2 * total, 1), data(3 * units, 2), data(total, 3), data(total, 4));
            let place = |at: usize, gate: usize| at / units * 2 * units + gate * units + at % units;
            let gate = |at: usize, gate: usize| sigmoid(gates[place(at, gate)] + bias[gate * units + at % units]);
            let c = |at: usize| (candidate[at] + bias[2 * units + at % units]).tanh();
            let all = |f: &dyn Fn(usize) -> f64| (0..total).map(f).collect::<Vec<f64>>();

            let bias = narrow(&bias);
            let (mut got_gates, mut r_h) = (narrow(&gates), vec![0.0; total]);
            gru_gates(units, &mut got_gates, Some(&bias[..2 * units]), &narrow(&h), &mut r_h);
            assert_close("r h", &r_h, &all(&|at| gate(at, 0) * h[at]));
            let (mut got_candidate, mut new_h) = (narrow(&candidate), vec![0.0; total]);
            gru_output(units, &got_gates, &mut got_candidate, Some(&bias[2 * units..]), &narrow(&h), &mut new_h);
            assert_close("c", &got_candidate, &all(&c));
            assert_close("new h", &new_h, &all(&|at| gate(at, 1) * h[at] + (1.0 - gate(at, 1)) * c(at)));

            let (dnew_h, dr_h) = (data(total, 5), data(total, 6));
            let (mut dgates, mut dcandidate, mut dh) = (vec![0.0; 2 * total], vec![0.0; total], vec![0.0; total]);
            gru_output_gradient(GruOutputGradient {
                units,
                gates: &got_gates,
                candidate: &got_candidate,
                h: &narrow(&h),
                dnew_h: &narrow(&dnew_h),
                dgates: &mut dgates,
                dcandidate: &mut dcandidate,
                dh: &mut dh,
            });
            gru_gates_gradient(GruGatesGradient {
                units,
                gates: &got_gates,
                h: &narrow(&h),
                dr_h: &narrow(&dr_h),
                dgates: &mut dgates,
                dh: &mut dh,
            });
            let slope = |y: f64| y * (1.0 - y);
            let mut expected = vec![0.0; 2 * total];
            for at in 0..total {
                expected[place(at, 0)] = dr_h[at] * h[at] * slope(gate(at, 0));
                expected[place(at, 1)] = dnew_h[at] * (h[at] - c(at)) * slope(gate(at, 1));
            }
            assert_close("dgates", &dgates, &expected);
            assert_close("dcandidate", &dcandidate, &all(&|at| dnew_h[at] * (1.0 - gate(at, 1)) * (1.0 - c(at) * c(at))));
            assert_close("dh", &dh, &all(&|at| dnew_h[at] * gate(at, 1) + dr_h[at] * gate(at, 0)));
        }
    });
}

#[test]
fn softmax_and_cross_entropy() {
    at_every_level(|| {
        for (batch, columns) in [(0, 3), (1, 1), (2, 3), (5, 17), (3, 100), (40, 103), (2, 3000)] {
            let x = data(batch * columns, 1);
            let labels: Vec<f64> = data(batch * columns, 2).iter().map(|x| x / columns as f64).collect();
            let row = |i: usize| &x[i * columns..][..columns];
            let log = |i: usize| row(i).iter().map(|x| x.exp()).sum::<f64>().ln();
            let all = |f: &dyn Fn(usize) -> f64| (0..x.len()).map(f).collect::<Vec<f64>>();
            let probability = |at: usize| (x[at] - log(at / columns)).exp();
            let (logits, mut out, mut loss) = (narrow(&x), vec![0.0; x.len()], vec![0.0; batch]);
            softmax(&logits, columns, &mut out);
            assert_close("softmax", &out, &all(&probability));
            log_softmax(&logits, columns, &mut out);
            assert_close("log softmax", &out, &all(&|at| x[at] - log(at / columns)));
            softmax_cross_entropy(&logits, &narrow(&labels), columns, &mut loss, &mut out);
            assert_close("backprop", &out, &all(&|at| probability(at) - labels[at]));
            let term = |at: usize| labels[at] * (log(at / columns) - x[at]);
            let expected: Vec<f64> = (0..batch).map(|i| (0..columns).map(|j| term(i * columns + j)).sum()).collect();
            assert_close("loss", &loss, &expected);
            sparse_softmax_cross_entropy(&logits, |row| (row * 7) % columns, columns, &mut loss, &mut out);
            let label = |i: usize| i * columns + (i * 7) % columns;
            assert_close("sparse backprop", &out, &all(&|at| probability(at) - f64::from(at == label(at / columns))));
            assert_close("sparse loss", &loss, &(0..batch).map(|i| log(i) - x[label(i)]).collect::<Vec<f64>>());
        }
    });
}

#[test]
fn softmax_of_special_values_is_tensorflows() {
    let infinity = f32::INFINITY;
    let logits = [0.0, -infinity, -infinity, -infinity, infinity, 0.0];
    let mut out = [0.0; 6];
    softmax(&logits, 2, &mut out);
    assert_eq!(out[..2], [1.0, 0.0]);
    assert!(out[2..5].iter().all(|x| x.is_nan()));
    log_softmax(&logits, 2, &mut out);
    assert_eq!(out[..2], [0.0, -infinity]);
    assert!(out[2..].iter().all(|x| x.is_nan()));
    let (mut loss, mut backprop) = ([0.0; 2], [0.0; 4]);
    softmax_cross_entropy(&[0.0, -infinity, 1.0, 2.0], &[1.0, 0.0, 0.0, 0.0], 2, &mut loss, &mut backprop);
    assert!(loss[0].is_nan() && loss[1] == 0.0);
    assert_eq!(backprop[..2], [0.0, 0.0]);
    softmax_cross_entropy::<f32>(&[], &[], 0, &mut loss, &mut []);
    assert_eq!(loss, [0.0, 0.0]);
    sparse_softmax_cross_entropy(&[1.0f32, 2.0], |_| 2, 2, &mut loss[..1], &mut backprop[..2]);
    assert!(loss[0].is_nan() && backprop[0].is_nan() && backprop[1].is_nan());
}

/// Three elements, some of them updated by hand.
#[test]
fn optimizers() {
    let grad = [0.5f32, -1.0, 0.0];
    let start = [1.0f32, 2.0, 3.0];
    let check = |what: &str, got: &[f32], expected: [f64; 3]| assert_close(what, got, &expected);

    let mut var = start;
    gradient_descent(&mut var, 0.1, &grad);
    check("gradient descent", &var, [0.95, 2.1, 3.0]);

    for (use_nesterov, expected) in [(false, [0.86, 1.92, 2.73]), (true, [0.824, 2.028, 2.757])] {
        let (mut var, mut accum) = (start, [1.0, 2.0, 3.0]);
        momentum(&mut var, &mut accum, &grad, Momentum { lr: 0.1, momentum: 0.9, use_nesterov });
        check("accum", &accum, [1.4, 0.8, 2.7]);
        check("momentum", &var, expected);
    }
    for (use_nesterov, expected) in [(false, [1.85, 3.9, 5.7]), (true, [1.715, 3.81, 5.43])] {
        let (mut var, mut accum) = (start, [1.0, 2.0, 3.0]);
        let options = Momentum { lr: 0.1, momentum: 0.9, use_nesterov };
        keras_momentum(&mut var, &mut accum, &grad, options);
        check("accum", &accum, [0.85, 1.9, 2.7]);
        check("keras momentum", &var, expected);
    }
    for update_slots in [true, false] {
        let (mut var, mut accum) = (start, [0.75f32, 3.0, 4.0]);
        adagrad(&mut var, &mut accum, 0.1, &grad, update_slots);
        let sums: [f64; 3] = if update_slots { [1.0, 4.0, 4.0] } else { [0.75, 3.0, 4.0] };
        check("accum", &accum, sums);
        check("adagrad", &var, [1.0 - 0.05 / sums[0].sqrt(), 2.0 + 0.1 / sums[1].sqrt(), 3.0]);
        let (mut var, mut accum) = (start, [0.75f32, 3.0, 4.0]);
        adagrad_v2(&mut var, &mut accum, 0.1, 0.5, &grad, update_slots);
        check("adagrad v2", &var, [1.0 - 0.05 / (sums[0].sqrt() + 0.5), 2.0 + 0.1 / (sums[1].sqrt() + 0.5), 3.0]);
    }

    let options = RmsProp { lr: 0.1, rho: 0.75, momentum: 0.5, epsilon: 0.25 };
    let (mut var, mut ms, mut mom) = (start, [1.0f32, 1.0, 1.0], [0.2f32, 0.0, 0.0]);
    rms_prop(&mut var, &mut ms, &mut mom, &grad, options);
    check("ms", &ms, [0.8125, 1.0, 0.75]);
    let expected = [0.1 + 0.05 / 1.0625f64.sqrt(), -0.1 / 1.25f64.sqrt(), 0.0];
    check("mom", &mom, expected);
    check("rms prop", &var, [1.0 - expected[0], 2.0 - expected[1], 3.0]);
    let (mut var, mut mg, mut ms, mut mom) = (start, [0.1f32, 0.0, 0.0], [1.0f32, 1.0, 1.0], [0.2f32, 0.0, 0.0]);
    centered_rms_prop(&mut var, &mut mg, &mut ms, &mut mom, &grad, options);
    check("mg", &mg, [0.2, -0.25, 0.0]);
    let expected = [0.1 + 0.05 / 1.0225f64.sqrt(), -0.1 / 1.1875f64.sqrt(), 0.0];
    check("centered mom", &mom, expected);
    check("centered rms prop", &var, [1.0 - expected[0], 2.0 - expected[1], 3.0]);

    for use_nesterov in [false, true] {
        let options = Adam { beta1_power: 0.5, beta2_power: 0.75, lr: 0.1, beta1: 0.5, beta2: 0.75, epsilon: 0.25, use_nesterov };
        let (mut var, mut m, mut v) = (start, [0.5f32, 1.0, 1.0], [0.25f32, 1.0, 4.0]);
        adam(&mut var, &mut m, &mut v, &grad, options);
        check("m", &m, [0.5, 0.0, 0.5]);
        check("v", &v, [0.25, 1.0, 3.0]);
        let step = |m: f64, grad: f64, v: f64| 0.1 * if use_nesterov { grad * 0.5 + 0.5 * m } else { m } / (v.sqrt() + 0.25);
        check("adam", &var, [1.0 - step(0.5, 0.5, 0.25), 2.0 - step(0.0, -1.0, 1.0), 3.0 - step(0.5, 0.0, 3.0)]);
    }
}
