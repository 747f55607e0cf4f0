//! Medians, and how sure a ratio of two of them is.

/// How many resamples an interval is made of.
const RESAMPLES: usize = 2_000;

/// A value with its 95 % interval.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Estimate {
    pub(crate) value: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// The median of `a` over the median of `b`, whose entries were measured in pairs.
///
/// The interval is a percentile bootstrap over the pairs: what disturbed a round disturbed both of
/// its entries, so they are drawn together.
pub(crate) fn ratio_of_medians(a: &[f64], b: &[f64]) -> Estimate {
    assert_eq!(a.len(), b.len(), "the rounds are paired");
    let mut random = Random(0x5EED);
    let (mut drawn_a, mut drawn_b) = (vec![0.0; a.len()], vec![0.0; b.len()]);
    let mut ratios: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            for at in 0..a.len() {
                let pair = random.below(a.len());
                (drawn_a[at], drawn_b[at]) = (a[pair], b[pair]);
            }
            median(&mut drawn_a) / median(&mut drawn_b)
        })
        .collect();
    ratios.sort_unstable_by(f64::total_cmp);
    Estimate {
        value: median(&mut a.to_vec()) / median(&mut b.to_vec()),
        low: ratios[RESAMPLES * 25 / 1000],
        high: ratios[RESAMPLES * 975 / 1000 - 1],
    }
}

/// The middle of `values`, which it reorders.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f64::total_cmp).1
}

/// SplitMix64: the same draws at every run, so that two reports differ by what they measured.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^= word >> 31;
        usize::try_from((u128::from(word) * end as u128) >> 64).unwrap_or(0)
    }
}
