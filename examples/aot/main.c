//===- main.c - A model without its compiler ------------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// charlm WEIGHTS [TEXT]    continues TEXT, the most likely character each time
// charlm WEIGHTS --logits  reads 256 token ids of 64 bits, writes the logits
//
//===----------------------------------------------------------------------===//

#include "charlm.h"

#include <stdio.h>
#include <string.h>

enum { context = 256, vocabulary = 65 };

// vocab.json of examples/char-lm.
static const char characters[] = "\n !$&',-.3:;?ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                 "abcdefghijklmnopqrstuvwxyz";

static int64_t tokens[context];
static float logits[context][vocabulary];

static int run(charlm_model *model) {
  int code = charlm_main(model, tokens, logits[0]);
  if (code)
    fprintf(stderr, "charlm: %s\n", charlm_message(code));
  return code;
}

static int writeText(charlm_model *model, const char *start) {
  int length = 0;
  for (; start[length] && length < context; ++length) {
    const char *found = strchr(characters, start[length]);
    tokens[length] = found ? found - characters : 1;
  }
  fwrite(start, 1, length, stdout);
  for (; length < context; ++length) {
    if (run(model))
      return 1;
    int best = 0; // of what follows the last character
    for (int i = 1; i < vocabulary; ++i)
      if (logits[length - 1][i] > logits[length - 1][best])
        best = i;
    tokens[length] = best;
    putchar(characters[best]);
    fflush(stdout);
  }
  putchar('\n');
  return 0;
}

int main(int argc, char **argv) {
  char error[256];
  charlm_model *model = charlm_open(argc > 1 ? argv[1] : "", error);
  if (!model) {
    fprintf(stderr, "charlm: %s\n", error);
    return 1;
  }
  int failed;
  if (argc > 2 && strcmp(argv[2], "--logits") == 0)
    failed = fread(tokens, sizeof(tokens), 1, stdin) != 1 || run(model) ||
             fwrite(logits, sizeof(logits), 1, stdout) != 1;
  else
    failed = writeText(model, argc > 2 && argv[2][0] ? argv[2] : "ROMEO:");
  charlm_close(model);
  return failed;
}
