//! The small vocabularies of the command table: flags, categories, groups.
//!
//! Invariant: the names are those COMMAND replies with, and sets list them in that order.

use std::fmt;
use std::marker::PhantomData;

/// A set of flags of one vocabulary.
pub struct FlagSet<F> {
    bits: u32,
    of: PhantomData<F>,
}

impl<F> FlagSet<F> {
    /// No flag.
    pub const EMPTY: FlagSet<F> = FlagSet { bits: 0, of: PhantomData };

    /// Whether no flag is in the set.
    pub const fn is_empty(&self) -> bool {
        self.bits == 0
    }

    /// How many flags are in the set.
    pub const fn len(&self) -> usize {
        self.bits.count_ones() as usize
    }
}

impl<F> Clone for FlagSet<F> {
    fn clone(&self) -> FlagSet<F> {
        *self
    }
}

impl<F> Copy for FlagSet<F> {}

/// One vocabulary: its type, its meaning, and each flag with its name. Gives the type, and sets of it.
macro_rules! vocabulary {
    ($(#[$about:meta])* $kind:ident { $($(#[$flag_about:meta])* $flag:ident = $name:literal,)+ }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $kind { $($(#[$flag_about])* $flag,)+ }

        impl $kind {
            /// Every flag there is, in the order sets list them.
            pub const ALL: &[$kind] = &[$($kind::$flag),+];

            /// The name in replies.
            pub const fn name(self) -> &'static str {
                match self { $($kind::$flag => $name,)+ }
            }

            /// The set of these flags.
            pub const fn set(flags: &[$kind]) -> FlagSet<$kind> {
                let mut bits = 0;
                let mut at = 0;
                while at < flags.len() {
                    bits |= 1 << flags[at] as u32;
                    at += 1;
                }
                FlagSet { bits, of: PhantomData }
            }
        }

        impl FlagSet<$kind> {
            /// Whether the flag is in the set.
            pub const fn has(&self, flag: $kind) -> bool {
                self.bits & (1 << flag as u32) != 0
            }

            /// Adds a flag.
            pub const fn insert(&mut self, flag: $kind) {
                self.bits |= 1 << flag as u32;
            }

            /// The names of the flags in the set.
            pub fn names(self) -> impl Iterator<Item = &'static str> {
                $kind::ALL.iter().filter(move |flag| self.has(**flag)).map(|flag| flag.name())
            }
        }

        impl fmt::Debug for FlagSet<$kind> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_set().entries(self.names()).finish()
            }
        }
    };
}

vocabulary! {
    /// What a command does and where it may run.
    Flag {
        /// May change data.
        Write = "write",
        /// Reads data and never changes it.
        ReadOnly = "readonly",
        /// Refused when memory is short.
        DenyOom = "denyoom",
        /// For those who run the server.
        Admin = "admin",
        /// Belongs to publish/subscribe.
        PubSub = "pubsub",
        /// Not within scripts.
        NoScript = "noscript",
        /// May keep the client waiting for others.
        Blocking = "blocking",
        /// Allowed while data is being loaded.
        Loading = "loading",
        /// Allowed on a replica whose data may be old.
        Stale = "stale",
        /// Not shown to MONITOR.
        SkipMonitor = "skip_monitor",
        /// Not shown in the log of slow commands.
        SkipSlowLog = "skip_slowlog",
        /// Belongs to the moving of keys between the nodes of a cluster.
        Asking = "asking",
        /// Takes constant or logarithmic time.
        Fast = "fast",
        /// Allowed before login.
        NoAuth = "no_auth",
        /// Takes keys, and may be given none.
        NoMandatoryKeys = "no_mandatory_keys",
        /// Not while data is being loaded in the background.
        NoAsyncLoading = "no_async_loading",
        /// Not within a transaction.
        NoMulti = "no_multi",
        /// The short form of the key positions does not tell of every key; follows from the key specs.
        MovableKeys = "movablekeys",
        /// Allowed while a script hogs the server.
        AllowBusy = "allow_busy",
    }
}

vocabulary! {
    /// What a server goes by beside what COMMAND shows.
    Trait {
        /// Carries out what was queued since MULTI.
        RunsQueue = "runs_queue",
        /// Executed at once between MULTI and EXEC, not queued.
        NotQueued = "not_queued",
        /// May store something although it is no write.
        MayWrite = "may_write",
        /// Has an effect that replicas would be sent although it is no write.
        Replicates = "replicates",
        /// Uses its keys even for a client whose commands otherwise do not.
        AlwaysUses = "always_uses",
        /// Looks at a key from outside: one that is missing is no event.
        LooksFromOutside = "looks_from_outside",
        /// Allowed to subscribers of RESP2.
        WhileSubscribed = "while_subscribed",
        /// May change what its client is subscribed to.
        ChangesSubscriptions = "changes_subscriptions",
        /// Selects a database.
        Selects = "selects",
        /// Speaks of the client itself.
        AboutClient = "about_client",
        /// Serves test suites alone.
        ForTests = "for_tests",
    }
}

vocabulary! {
    /// The categories that access rules speak of, without their `@`.
    Category {
        /// Works on keys whatever their value.
        Keyspace = "keyspace",
        /// Reads data.
        Read = "read",
        /// Changes data.
        Write = "write",
        /// Works on sets.
        Set = "set",
        /// Works on sorted sets.
        SortedSet = "sortedset",
        /// Works on lists.
        List = "list",
        /// Works on hashes.
        Hash = "hash",
        /// Works on strings.
        String = "string",
        /// Works on strings as bits.
        Bitmap = "bitmap",
        /// Works on estimates of how many distinct elements there were.
        HyperLogLog = "hyperloglog",
        /// Works on places on the earth.
        Geo = "geo",
        /// Works on streams.
        Stream = "stream",
        /// Belongs to publish/subscribe.
        PubSub = "pubsub",
        /// For those who run the server.
        Admin = "admin",
        /// Takes constant or logarithmic time.
        Fast = "fast",
        /// Everything that is not fast.
        Slow = "slow",
        /// May keep the client waiting for others.
        Blocking = "blocking",
        /// Can hurt: consider who may call it.
        Dangerous = "dangerous",
        /// Concerns the connection.
        Connection = "connection",
        /// Belongs to transactions.
        Transaction = "transaction",
        /// Runs programs inside the server.
        Scripting = "scripting",
    }
}

vocabulary! {
    /// What a command does to a key.
    KeyFlag {
        /// Reads it, or facts about it.
        ReadOnly = "RO",
        /// Changes what is there.
        ReadWrite = "RW",
        /// Replaces it without a look.
        Overwrite = "OW",
        /// Removes it.
        Remove = "RM",
        /// Gives the value, or uses it.
        Access = "access",
        /// May change a value that exists.
        Update = "update",
        /// Adds data, never changes any.
        Insert = "insert",
        /// Removes data on purpose.
        Delete = "delete",
        /// Stands where a key would, and is none.
        NotKey = "not_key",
        /// There may be more keys than it finds.
        Incomplete = "incomplete",
        /// Does not do all of this with every choice of arguments.
        VariableFlags = "variable_flags",
    }
}

/// The families commands are documented in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// About arrays.
    Array,
    /// About strings as bits.
    Bitmap,
    /// About the nodes of a cluster.
    Cluster,
    /// About one connection.
    Connection,
    /// About keys, whatever their value.
    Generic,
    /// About places on the earth.
    Geo,
    /// About hashes.
    Hash,
    /// About estimates of how many distinct elements there were.
    HyperLogLog,
    /// About lists.
    List,
    /// Publish and subscribe.
    PubSub,
    /// Programs inside the server.
    Scripting,
    /// About the server as a whole.
    Server,
    /// About sets.
    Set,
    /// About sorted sets.
    SortedSet,
    /// About streams.
    Stream,
    /// About strings.
    String,
    /// Transactions.
    Transactions,
    /// About sets of vectors.
    VectorSet,
}

impl Group {
    /// The name in COMMAND DOCS.
    pub const fn name(self) -> &'static str {
        match self {
            Group::Array => "array",
            Group::Bitmap => "bitmap",
            Group::Cluster => "cluster",
            Group::Connection => "connection",
            Group::Generic => "generic",
            Group::Geo => "geo",
            Group::Hash => "hash",
            Group::HyperLogLog => "hyperloglog",
            Group::List => "list",
            Group::PubSub => "pubsub",
            Group::Scripting => "scripting",
            Group::Server => "server",
            Group::Set => "set",
            Group::SortedSet => "sorted-set",
            Group::Stream => "stream",
            Group::String => "string",
            Group::Transactions => "transactions",
            Group::VectorSet => "vector_set",
        }
    }

    /// Returns the categories that commands of the group are in unless their rows say otherwise.
    pub(super) const fn categories(self) -> FlagSet<Category> {
        let category = match self {
            Group::Bitmap => Category::Bitmap,
            Group::Connection => Category::Connection,
            Group::Generic => Category::Keyspace,
            Group::HyperLogLog => Category::HyperLogLog,
            Group::Scripting => Category::Scripting,
            Group::String => Category::String,
            Group::Transactions => Category::Transaction,
            _ => return FlagSet::EMPTY,
        };
        Category::set(&[category])
    }
}
