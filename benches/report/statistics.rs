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
/// For the interval, what disturbed a round disturbed both of its entries, so they are drawn together.
pub(crate) fn ratio_of_medians(a: &[f64], b: &[f64]) -> Estimate {
    estimate([a, b], |[a, b]| median(a) / median(b))
}

/// The median of what each round's pair has for a ratio: for rounds so long that the machine is not the
/// same in two of them.
pub(crate) fn median_of_ratios(a: &[f64], b: &[f64]) -> Estimate {
    let ratios: Vec<f64> = a.iter().zip(b).map(|(a, b)| a / b).collect();
    estimate([&ratios], |[ratios]| median(ratios))
}

/// What `of` makes of series that were measured together, with a percentile bootstrap over the rounds.
pub(crate) fn estimate<const N: usize>(
    series: [&[f64]; N],
    of: impl Fn(&mut [Vec<f64>; N]) -> f64,
) -> Estimate {
    let rounds = series[0].len();
    assert!(series.iter().all(|one| one.len() == rounds), "the rounds are of one measurement");
    let mut random = Random(0x5EED);
    let mut drawn = series.map(<[f64]>::to_vec);
    let value = of(&mut drawn);
    let mut values: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            for at in 0..rounds {
                let round = random.below(rounds);
                for (drawn, series) in drawn.iter_mut().zip(series) {
                    drawn[at] = series[round];
                }
            }
            of(&mut drawn)
        })
        .collect();
    values.sort_unstable_by(f64::total_cmp);
    let (low, high) = (values[RESAMPLES * 25 / 1000], values[RESAMPLES * 975 / 1000 - 1]);
    Estimate { value, low, high }
}

/// The middle of `values`, which it reorders.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    let middle = values.len() / 2;
    *values.select_nth_unstable_by(middle, f64::total_cmp).1
}

/// SplitMix64: the same draws at every run, so that two reports differ by what they measured.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^= word >> 31;
        usize::try_from((u128::from(word) * end as u128) >> 64).unwrap_or(0)
    }
}
