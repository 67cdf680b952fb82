//! Commits with a token that are under way: whoever asks what became of one is not told "not found" while it may still
//! happen.
//!
//! 1. A token is in here from the moment in which its commit's turn has come, until that is applied or refused.
//! 2. A commit whose client is gone once its token is in here does not happen. So who asks after a connection broke is
//!    told what stays true: the commit is in here by then, or is over, or never happens.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use graphite_protocol::Token;

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct TokensUnderWay {
    tokens: Mutex<Vec<Token>>,
    fewer: Condvar,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(crate) struct UnderWay {
    /// Which.
    pub token: Token,
    all: Arc<TokensUnderWay>,
}

impl TokensUnderWay {
    /// The list is whole at every moment.
    fn lock(&self) -> MutexGuard<'_, Vec<Token>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A commit with this token has come.
    pub(crate) fn begin(self: &Arc<Self>, token: Token) -> UnderWay {
        self.lock().push(token.clone());
        UnderWay { token, all: self.clone() }
    }

    /// Waits until no commit with this token is under way; `false` if one still is after so long.
    pub(crate) fn wait_for(&self, token: &Token, time: Duration) -> bool {
        let is_there = |tokens: &mut Vec<Token>| tokens.contains(token);
        let waited = self.fewer.wait_timeout_while(self.lock(), time, is_there);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut tokens = self.all.lock();
        if let Some(at) = tokens.iter().position(|token| *token == self.token) {
            tokens.swap_remove(at);
        }
        drop(tokens);
        self.all.fewer.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_waited_for_until_its_commit_has_ended() {
        let all = Arc::new(TokensUnderWay::default());
        let [one, other] = ["one", "other"].map(|name| Token::new(name).unwrap());
        let (first, again) = (all.begin(one.clone()), all.begin(one.clone()));
        assert!(!all.wait_for(&one, Duration::ZERO));
        assert!(all.wait_for(&other, Duration::ZERO));
        drop(first);
        assert!(!all.wait_for(&one, Duration::ZERO), "the second one is still under way");
        std::thread::scope(|scope| {
            scope.spawn(|| drop(again));
            assert!(all.wait_for(&one, Duration::from_secs(100_000)));
        });
    }
}
