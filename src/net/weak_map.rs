//! Values by a key, for as long as somebody has them: what one configuration has, the next one finds.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Finds a value again as long as somebody has it.
pub struct WeakMap<K, V>(Mutex<HashMap<K, Weak<V>>>);

impl<K: Clone + Eq + Hash, V> WeakMap<K, V> {
    /// The value of this key, or a new one.
    pub fn get_or_insert_with(&self, key: &K, make: impl FnOnce() -> V) -> Arc<V> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(key).and_then(Weak::upgrade).unwrap_or_else(|| {
            let value = Arc::new(make());
            known.insert(key.clone(), Arc::downgrade(&value));
            value
        })
    }

    /// The value of this key, if somebody has it.
    pub fn get(&self, key: &K) -> Option<Arc<V>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).and_then(Weak::upgrade)
    }

    /// The keys whose values somebody has.
    pub fn keys(&self) -> Vec<K> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let live = known.iter().filter(|(_, value)| value.strong_count() > 0);
        live.map(|(key, _)| key.clone()).collect()
    }

    /// Forgets the keys whose values nobody has any more, and calls `ended` with each.
    pub fn forget_ended(&self, ended: impl Fn(&K)) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|key, value| {
            let is_live = value.strong_count() > 0;
            if !is_live {
                ended(key);
            }
            is_live
        });
    }
}

impl<K, V> Default for WeakMap<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}
