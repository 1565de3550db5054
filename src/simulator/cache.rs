//! A bounded map that forgets what was used least recently.

use std::collections::HashMap;
use std::hash::Hash;

/// Keeps values up to a total cost. Lookups are cheap; forgetting scans, for entries are few and large.
#[derive(Debug)]
pub(crate) struct Cache<K, V> {
    entries: HashMap<K, Entry<V>>,
    cost: usize,
    cost_max: usize,
    tick: u64,
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    cost: usize,
    used: u64,
}

impl<K: Hash + Eq + Clone, V: Clone> Cache<K, V> {
    pub(crate) fn new(cost_max: usize) -> Cache<K, V> {
        Cache { entries: HashMap::new(), cost: 0, cost_max, tick: 0 }
    }

    pub(crate) fn get(&mut self, key: &K) -> Option<V> {
        self.tick += 1;
        let entry = self.entries.get_mut(key)?;
        entry.used = self.tick;
        Some(entry.value.clone())
    }

    /// Keeps `value`, alone if it is larger than the bound.
    pub(crate) fn put(&mut self, key: K, value: V, cost: usize) {
        self.tick += 1;
        self.forget(&key);
        while self.cost + cost > self.cost_max {
            let Some(oldest) = self.entries.iter().min_by_key(|(_, e)| e.used).map(|(k, _)| k.clone()) else { break };
            self.forget(&oldest);
        }
        self.cost += cost;
        self.entries.insert(key, Entry { value, cost, used: self.tick });
    }

    fn forget(&mut self, key: &K) {
        if let Some(entry) = self.entries.remove(key) {
            self.cost -= entry.cost;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_goes_first_and_the_bound_holds() {
        let mut cache = Cache::new(3);
        cache.put("a", 1, 1);
        cache.put("b", 2, 1);
        cache.put("c", 3, 1);
        assert_eq!(cache.get(&"a"), Some(1));
        cache.put("d", 4, 2);
        assert_eq!(
            (cache.get(&"a"), cache.get(&"b"), cache.get(&"c"), cache.get(&"d")),
            (Some(1), None, None, Some(4))
        );
        cache.put("e", 5, 9);
        assert_eq!((cache.get(&"d"), cache.get(&"e"), cache.cost), (None, Some(5), 9));
    }
}
