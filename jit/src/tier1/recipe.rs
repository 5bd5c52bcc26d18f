//! Recipes: how to compute an image word from the canonical layout.
//!
//! A word that is no entry of the canonical layout holds something the optimizer kept across the site: a hoisted value, a
//! common subexpression. Where it is a pure function of what Wasm sees there, another version's continuation can enter
//! this code: the recipe says what to compute.

use super::minst::Source;
use crate::{
    ir::value::{Function, InstData, Value, ValueDef},
    suspension::point::Recipe,
};
use std::collections::HashMap;

/// Recipes are at most that many operators; beyond, the word counts as not computable.
const MAX_OPERATORS: u32 = 64;

/// Builds the recipes of a function's sites.
#[derive(Debug)]
pub(crate) struct RecipeBuilder<'a> {
    ir: &'a Function,
}

impl<'a> RecipeBuilder<'a> {
    pub(crate) fn new(ir: &'a Function) -> Self {
        Self { ir }
    }

    /// One recipe per value that lives across a site.
    pub(crate) fn recipes(&self, map: &[Source], values: &[Option<Value>]) -> Vec<Option<Recipe>> {
        let mut entries: HashMap<Value, u32> = HashMap::new();
        for (source, entry) in map.iter().zip(0..) {
            if let Source::Live(position) = *source
                && let Some(value) = values[position as usize]
            {
                entries.entry(value).or_insert(entry);
            }
        }
        values
            .iter()
            .map(|value| {
                let mut budget = MAX_OPERATORS;
                value.and_then(|value| self.recipe(value, &entries, &mut budget))
            })
            .collect()
    }

    /// Recursion is bounded by the budget.
    fn recipe(
        &self,
        value: Value,
        entries: &HashMap<Value, u32>,
        budget: &mut u32,
    ) -> Option<Recipe> {
        if let Some(&entry) = entries.get(&value) {
            return Some(Recipe::Canonical(entry));
        }
        *budget = budget.checked_sub(1)?;
        let ValueDef::Result(inst, _) = self.ir.values[value.index()].def else {
            return None;
        };
        match self.ir.insts[inst.index()].data {
            InstData::Const { bits, .. } => Some(Recipe::Const(bits)),
            InstData::Unary { op, arg } if !op.can_trap() => Some(Recipe::Unary(
                op,
                Box::new(self.recipe(arg, entries, budget)?),
            )),
            InstData::Binary { op, args } if !op.can_trap() => Some(Recipe::Binary(
                op,
                Box::new([
                    self.recipe(args[0], entries, budget)?,
                    self.recipe(args[1], entries, budget)?,
                ]),
            )),
            InstData::Select { cond, args, .. } => Some(Recipe::Select(Box::new([
                self.recipe(cond, entries, budget)?,
                self.recipe(args[0], entries, budget)?,
                self.recipe(args[1], entries, budget)?,
            ]))),
            _ => None,
        }
    }
}
