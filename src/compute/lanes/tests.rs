use super::*;
use crate::compute::level::tests::at_every_level;

struct All<T>([T; 3]);

/// The results of every operation on one value, as scalars in the order of the trait.
impl Kernel<f32> for All<f32> {
    type Output = Vec<f32>;

    fn run<L: Lanes<Elem = f32>>(self, l: L) -> Vec<f32> {
        let [a, b, c] = self.0.map(|x| l.splat(x));
        let truth = |m| l.select(m, l.splat(1.0), l.splat(0.0));
        let one = l.splat_int(1);
        let mut results = vec![l.add(a, b), l.sub(a, b), l.mul(a, b), l.div(a, b), l.mul_add(a, b, c), l.neg_mul_add(a, b, c)];
        results.extend([l.sqrt(a), l.max(a, b), l.min(a, b), truth(l.lt(a, b)), truth(l.le(a, b)), truth(l.eq(a, b))]);
        results.extend([l.abs(a), l.copy_sign(a, b), l.scale(a, b), l.scale(a, l.splat(-130.0))]);
        results.push(l.to_float(l.int_add(l.bits(a), one)));
        results.push(l.to_float(l.int_sub(l.bits(a), one)));
        results.push(l.to_float(l.to_exponent(l.splat_int(130))));
        results.push(l.to_float(l.int_or(l.to_sign(one), l.bits(l.splat(2.0)))));
        results.push(l.to_float(l.int_xor(l.to_sign(l.splat_int(3)), l.bits(l.splat(2.0)))));
        results.push(l.to_float(l.int_and(l.splat_int(i32::MAX), l.bits(l.splat(-3.0)))));
        results.push(l.to_float(l.to_exponent(l.exponent(l.bits(l.splat(5.0))))));
        assert!(l.all(l.eq(l.splat(1.0), l.splat(1.0))) && !l.all(l.lt(l.splat(1.0), l.splat(1.0))));
        results.into_iter().map(|v| l.array(v)[L::N - 1]).collect()
    }
}

#[test]
fn operations_on_f32() {
    let next = |x: f32, by: i32| f32::from_bits((x.to_bits() as i32 + by) as u32);
    at_every_level(|| {
        for [a, b, c] in [[3.0f32, 2.0, 1.0], [2.0, -3.0, 0.5], [4.0, 4.0, -1.0]] {
            let got = dispatch(All([a, b, c]));
            let truth = |x| if x { 1.0 } else { 0.0 };
            let mut expected = vec![a + b, a - b, a * b, a / b, a * b + c, c - a * b, a.sqrt(), a.max(b), a.min(b)];
            expected.extend([
                truth(a < b),
                truth(a <= b),
                truth(a == b),
                a.abs(),
                a.copysign(b),
                a * b.exp2(),
                a * (-130f32).exp2(),
                next(a, 1),
                next(a, -1),
            ]);
            expected.extend([8.0, -2.0, -2.0, 3.0, 4.0]);
            assert_eq!(got, expected);
        }
        let with_nan = dispatch(All([f32::NAN, 2.0, 0.0]));
        assert_eq!(with_nan[7..12], [2.0, 2.0, 0.0, 0.0, 0.0]);
    });
}

struct Parts<'a, T>(&'a [T], &'a mut [T], usize);

impl<T: Real> Kernel<T> for Parts<'_, T> {
    type Output = T;

    fn run<L: Lanes<Elem = T>>(self, l: L) -> T {
        let count = self.2 % L::N;
        // SAFETY: the test gives slices of at least 32 elements.
        unsafe {
            let whole = l.load(self.0.as_ptr());
            l.store(self.1.as_mut_ptr(), whole);
            let part = l.load_first(self.0.as_ptr(), count);
            l.store_first(self.1.as_mut_ptr().add(16), l.add(part, part), count);
            let rest = l.array(part)[count..].iter().fold(T::zero(), |sum, x| sum + *x);
            assert_eq!(rest, T::zero());
            assert_eq!(self.1[16 + count], T::zero());
            let sum = self.0[..L::N].iter().fold(T::zero(), |sum, x| sum + *x);
            assert_eq!(l.sum(whole), sum);
            self.1[16..].iter().fold(T::zero(), |sum, x| sum + *x) - self.0[..count].iter().fold(T::zero(), |s, x| s + *x + *x)
        }
    }
}

fn check_parts<T: Real>() {
    let data: Vec<T> = (1..=32).map(|i| T::from(i).unwrap()).collect();
    for count in 0..16 {
        let mut out = vec![T::zero(); 40];
        assert_eq!(dispatch(Parts(&data, &mut out, count)), T::zero());
        assert_eq!(out[0..2], data[0..2]);
    }
}

#[test]
fn parts_of_vectors() {
    at_every_level(check_parts::<f32>);
    at_every_level(check_parts::<f64>);
}

struct Integers(f64);

impl Kernel<f64> for Integers {
    type Output = [f64; 5];

    fn run<L: Lanes<Elem = f64>>(self, l: L) -> [f64; 5] {
        let x = l.splat(self.0);
        let one = l.splat_int(1);
        let scaled = l.to_float(l.int_add(l.bits(x), l.to_exponent(one)));
        let exponent = l.to_exponent(l.exponent(l.bits(x)));
        let negative = l.to_float(l.int_xor(l.bits(x), l.to_sign(one)));
        [scaled, l.to_float(exponent), negative, l.abs(negative), l.neg_mul_add(x, x, x)].map(|v| l.array(v)[0])
    }
}

#[test]
fn operations_on_f64() {
    at_every_level(|| assert_eq!(dispatch(Integers(5.0)), [10.0, 4.0, -5.0, 5.0, -20.0]));
}
