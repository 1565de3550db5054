//! Chance: the same seed and ordinal give the same conversation, whatever was made before it.

/// SplitMix64: not for secrets, but quick, and seeded with any number.
pub(crate) struct Dice {
    seed: u64,
    state: u64,
}

/// What each step adds: 2^64 by the golden ratio.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

impl Dice {
    pub(crate) fn new(seed: u64) -> Dice {
        Dice { seed, state: seed }
    }

    /// Begins the sequence of the `ordinal`th conversation.
    pub(crate) fn turn_to(&mut self, ordinal: u64) {
        self.state = mixed(self.seed) ^ mixed(ordinal.wrapping_add(STEP));
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(STEP);
        mixed(self.state)
    }

    /// A whole number in `from..=to`.
    pub(crate) fn between(&mut self, from: u64, to: u64) -> u64 {
        from + ((u128::from(self.next()) * u128::from(to - from + 1)) >> 64) as u64
    }

    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.between(1, 100) <= percent
    }

    pub(crate) fn pick<'a>(&mut self, from: &'a [impl AsRef<str>]) -> &'a str {
        from[self.place(from)].as_ref()
    }

    /// The place of one of `items`.
    pub(crate) fn place<T>(&mut self, items: &[T]) -> usize {
        self.between(0, items.len() as u64 - 1) as usize
    }

    /// In `0.0..1.0`.
    pub(crate) fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A length of time in milliseconds, most of them short.
    pub(crate) fn duration(&mut self, mean: f64) -> i64 {
        (-mean * (1.0 - self.fraction()).ln()) as i64
    }

    /// A normally distributed number.
    pub(crate) fn normal(&mut self, mean: f64, deviation: f64) -> f64 {
        let radius = (-2.0 * (1.0 - self.fraction()).ln()).sqrt();
        mean + deviation * radius * (std::f64::consts::TAU * self.fraction()).cos()
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.between(0, last as u64) as usize;
            items.swap(last, other);
        }
    }

    pub(crate) fn bytes(&mut self) -> [u8; 16] {
        ((u128::from(self.next()) << 64) | u128::from(self.next())).to_le_bytes()
    }
}

fn mixed(state: u64) -> u64 {
    let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
