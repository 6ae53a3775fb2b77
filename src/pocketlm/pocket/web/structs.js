// Structures of pocketlm.h in the memory of a 32-bit module, read and written field by field.
// Knows their fields in the header's order (a test compares them) and how C aligns them.

const SIZES = { i32: 4, u32: 4, pointer: 4, i64: 8, u64: 8, f64: 8 };

const ACCESS = {
  i32: [DataView.prototype.getInt32, DataView.prototype.setInt32],
  u32: [DataView.prototype.getUint32, DataView.prototype.setUint32],
  pointer: [DataView.prototype.getUint32, DataView.prototype.setUint32],
  i64: [DataView.prototype.getBigInt64, DataView.prototype.setBigInt64],
  u64: [DataView.prototype.getBigUint64, DataView.prototype.setBigUint64],
  f64: [DataView.prototype.getFloat64, DataView.prototype.setFloat64],
};

class Struct {
  /** @param {Record<string, keyof typeof SIZES>} fields  in order */
  constructor(fields) {
    this.fields = fields;
    this.offsets = {};
    let end = 0;
    let alignment = 1;
    for (const [name, type] of Object.entries(fields)) {
      const size = SIZES[type];
      end = aligned(end, size);
      this.offsets[name] = end;
      end += size;
      alignment = Math.max(alignment, size);
    }
    this.size = aligned(end, alignment);
  }

  /** Write it at an address; its own size goes to the field `size`, and zeros to what is not said. */
  write(view, address, values) {
    for (const [name, type] of Object.entries(this.fields)) {
      const wide = type === "i64" || type === "u64";
      const value = name === "size" ? this.size : (values[name] ?? 0);
      ACCESS[type][1].call(view, address + this.offsets[name], wide ? BigInt(value) : value, true);
    }
  }

  /** Read it: 64-bit numbers as numbers. */
  read(view, address) {
    const values = Object.entries(this.fields).map(([name, type]) => {
      const value = ACCESS[type][0].call(view, address + this.offsets[name], true);
      return [name, typeof value === "bigint" ? Number(value) : value];
    });
    return Object.fromEntries(values);
  }
}

const aligned = (offset, size) => Math.ceil(offset / size) * size;

export const ModelOptions = new Struct({
  size: "u32",
  threads: "i32",
  cache_type: "pointer",
  instruction_set: "pointer",
});

export const Facts = new Struct({
  size: "u32",
  architecture: "pointer",
  name: "pointer",
  chat_template: "pointer",
  instruction_set: "pointer",
  threads: "i32",
  vocab_size: "i32",
  token_count: "i32",
  context: "i32",
  layers: "i32",
  hidden_size: "i32",
  window: "i32",
  bos_token: "i32",
  eos_token: "i32",
  adds_bos: "i32",
  weight_bytes: "u64",
  mapped_bytes: "u64",
  block_bytes: "u64",
  block_tokens: "i32",
  pad_token: "i32",
  unknown_token: "i32",
});

export const Sampling = new Struct({
  size: "u32",
  temperature: "f64",
  top_k: "i64",
  top_p: "f64",
  min_p: "f64",
  repetition_penalty: "f64",
  presence_penalty: "f64",
  frequency_penalty: "f64",
  has_seed: "i32",
  seed: "u64",
  bias_tokens: "pointer",
  bias_values: "pointer",
  bias_count: "u32",
});
