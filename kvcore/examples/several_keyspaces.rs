//! Orders that move from a keyspace to another: a transaction over several keyspaces, and what a crash leaves of it.
//!
//! ```sh
//! cargo run -p kvcore --example several_keyspaces
//! ```
#![forbid(unsafe_code)]

use kvcore::{Db, Error, Keyspace, LockSet, Result};

struct Shop {
    db: Db,
    open: Keyspace,
    shipped: Keyspace,
    stock: Keyspace,
}

impl Shop {
    fn new(db: Db) -> Result<Shop> {
        let [open, shipped, stock] = ["open", "shipped", "stock"].map(|name| db.keyspace(name));
        Ok(Shop { open: open?, shipped: shipped?, stock: stock?, db })
    }

    /// Ships an order: it moves from one keyspace to another, and the stock shrinks. All of that happens, or nothing.
    fn ship(&self, order: &str, item: &str) -> Result<i64> {
        let (order_key, item_key) = ([order.as_bytes()], [item.as_bytes()]);
        let locks =
            LockSet::new().keys(&self.open, &order_key).keys(&self.shipped, &order_key).keys(&self.stock, &item_key);
        self.db.transact_across(locks, |txn| {
            let left = txn.keyspace(&self.stock)?.increment(item, -1)?;
            if left < 0 {
                return Err(Error::aborted("out of stock"));
            }
            // With its deadline, if it has one; a large value is not copied.
            if !txn.copy((&self.open, order), (&self.shipped, order))? {
                return Err(Error::aborted("no such order"));
            }
            txn.keyspace(&self.open)?.delete(order)?;
            Ok(left)
        })
    }

    /// Counts the orders of both keyspaces at one moment, while others ship.
    fn count(&self) -> Result<usize> {
        self.db.transact_across(LockSet::new().whole(&self.open).whole(&self.shipped), |txn| {
            let mut orders = 0;
            txn.for_each(&self.open, |_, _| orders += 1)?;
            txn.for_each(&self.shipped, |_, _| orders += 1)?;
            Ok(orders)
        })
    }
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let dir = tempfile::tempdir()?;
    let shop = Shop::new(Db::open(dir.path())?)?;
    shop.stock.set("book", "2")?;
    shop.open.set_many(&[("order 1", "Ada"), ("order 2", "Brian"), ("order 3", "Cleo")])?;

    let left = std::thread::scope(|scope| {
        let ship = scope.spawn(|| shop.ship("order 1", "book"));
        assert_eq!(shop.count()?, 3, "an order is never in both, and never in none");
        ship.join().map_err(|_| Error::aborted("a panic"))?
    })?;
    println!("Shipped order 1 to {:?}; {left} left.", shop.shipped.get("order 1")?);
    assert_eq!(shop.ship("order 2", "book")?, 0);
    let refused = shop.ship("order 3", "book");
    println!("Order 3: {refused:?}");
    assert!(matches!(refused, Err(Error::Aborted(_))));
    assert_eq!(shop.stock.get("book")?.ok_or("a number")?, "0", "what is refused changes nothing");
    drop(shop);

    let shop = Shop::new(Db::open(dir.path())?)?;
    assert_eq!((shop.open.len()?, shop.shipped.len()?), (1, 2));
    println!("After a restart: {} open, {} shipped.", shop.open.len()?, shop.shipped.len()?);
    Ok(())
}
