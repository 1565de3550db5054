//! Seeded chance: one stream a purpose, so that switching one feature on changes nothing else.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::model::Text;

/// What a stream of random numbers is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stream {
    Organisation = 1,
    Births,
    Body,
    Attributes,
    Late,
    Change,
    Deletion,
    Ugly,
    Credentials,
    Tokens,
    Calls,
    Faults,
    Directory,
}

/// A seeded source of decisions.
#[derive(Clone, Debug)]
pub(crate) struct Dice(ChaCha8Rng);

impl Dice {
    /// The stream of one purpose; `a` and `b` tell its instances apart (a day and a number, an ordinal).
    pub(crate) fn new(seed: u64, stream: Stream, a: i64, b: u64) -> Dice {
        let words = [seed, stream as u64, a.cast_unsigned(), b];
        let mut bytes = [0; 32];
        for (chunk, word) in bytes.chunks_exact_mut(8).zip(words) {
            chunk.copy_from_slice(&word.to_le_bytes());
        }
        Dice(ChaCha8Rng::from_seed(bytes))
    }

    /// True once in a while.
    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.0.random_bool(probability.clamp(0.0, 1.0))
    }

    /// An integer of `low..=high`.
    pub(crate) fn between(&mut self, low: i64, high: i64) -> i64 {
        self.0.random_range(low..=high.max(low))
    }

    /// A real number of `[low, high)`.
    pub(crate) fn real(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.0.random::<f64>()
    }

    /// A duration in milliseconds: exponential around `mean`, bounded so that a conversation stays one.
    pub(crate) fn span(&mut self, mean: i64) -> i64 {
        let draw = -self.real(f64::MIN_POSITIVE, 1.0).ln() * mean as f64;
        (draw as i64).clamp(200, mean.saturating_mul(8).max(200))
    }

    /// One of `items`, or the default of an empty slice.
    pub(crate) fn pick<T: Clone + Default>(&mut self, items: &[T]) -> T {
        let last = items.len().saturating_sub(1) as i64;
        items.get(self.between(0, last) as usize).cloned().unwrap_or_default()
    }

    /// One of `items`, as a string on the wire.
    pub(crate) fn word(&mut self, items: &[&'static str]) -> Text {
        Text::Borrowed(self.pick(items))
    }

    /// The index of one of `weights`, each as likely as it is heavy.
    pub(crate) fn weighted(&mut self, weights: impl Iterator<Item = u32> + Clone) -> usize {
        let total: i64 = weights.clone().map(i64::from).sum();
        let mut left = self.between(1, total);
        let mut index = 0;
        for weight in weights {
            left -= i64::from(weight);
            if left <= 0 {
                break;
            }
            index += 1;
        }
        index
    }

    /// A random UUID of version 4.
    pub(crate) fn uuid(&mut self) -> Text {
        Text::Owned(uuid::Builder::from_random_bytes(self.0.random()).into_uuid().to_string())
    }

    /// `count` decimal digits.
    pub(crate) fn digits(&mut self, count: usize) -> String {
        (0..count).map(|_| char::from(b'0' + self.0.random_range(0..10u8))).collect()
    }

    /// A phone number as the API writes it.
    pub(crate) fn phone(&mut self) -> Text {
        Text::Owned(format!("tel:+{}", self.digits(11)))
    }
}
