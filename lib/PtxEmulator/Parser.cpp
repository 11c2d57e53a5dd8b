//===- Parser.cpp - PTX text to a program ---------------------------------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//
//
// Declarations, scopes and labels. Functions are parsed before kernels: their
// registers come first in the register file of every kernel, which is why
// nothing may call itself.
//
//===----------------------------------------------------------------------===//

#include "Decode.h"
#include "Lexer.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <deque>
#include <functional>

using namespace quantopt::ptx;

static uint64_t alignUp(uint64_t value, uint64_t align) {
  return (value + align - 1) / align * align;
}

namespace {

struct Symbol {
  Operand operand; ///< a register, predicate, variable, parameter
};

struct Scope {
  std::unordered_map<std::string_view, Symbol> symbols;
  std::unordered_map<std::string_view, uint32_t> labels;
  std::unordered_map<std::string_view, std::vector<std::string_view>>
      branchTargets;
  /// Jumps to labels that have not been seen: where to store the index.
  struct Jump {
    std::string_view label;
    uint32_t instr;
    uint32_t target; ///< index into Program::targets, or kNone
    unsigned line;
  };
  std::vector<Jump> jumps;
};

class Parser : public ProgramBuilder {
public:
  Parser(std::string_view text) : text(text) {
    addArithmetic(table);
    addInteger(table);
    addMoves(table);
    addConversions(table);
    addMemory(table);
    addControl(table);
    addWarpOperations(table);
    addTensorCores(table);
    addWarpgroups(table);
    addCopyAsync(table);
    addMBarriers(table);
  }

  std::unique_ptr<Program> run(std::string &error);

  Ref constant(Constant constant) override;
  uint32_t addList(const std::vector<Ref> &refs) override;
  Program &getProgram() override { return *program; }

private:
  // Tokens.
  const Token &peek(unsigned ahead = 0) const {
    return tokens[std::min(position + ahead, tokens.size() - 1)];
  }
  const Token &next() {
    const Token &token = peek();
    position = std::min(position + 1, tokens.size() - 1);
    return token;
  }
  bool takePunct(char c) {
    if (!peek().is(c))
      return false;
    next();
    return true;
  }
  bool takeDot(std::string_view word) {
    if (!peek().isDot(word))
      return false;
    next();
    return true;
  }
  void expectPunct(char c) {
    if (!takePunct(c))
      fail(std::string("expected '") + c + "' before '" +
           std::string(peek().text) + "'");
  }
  uint64_t expectInteger() {
    if (peek().kind != Token::Integer)
      fail("expected a number before '" + std::string(peek().text) + "'");
    return next().value;
  }
  void fail(std::string text) { failAt(peek().line, std::move(text)); }
  void failAt(unsigned line, std::string text) {
    if (message.empty())
      message = "line " + std::to_string(line) + ": " + text;
  }
  bool failed() const { return !message.empty(); }

  // Module.
  void parseModuleItem();
  void skipBraces();
  void parseVariables(bool external);
  void parseInitializer(Variable &variable, Type element);
  void parseInitialValue(Variable &variable, Type element, uint64_t &at);
  void parseFunction(bool isEntry);
  std::vector<ParamPlace> parseParameterList(bool inLocal, uint32_t &bytes);
  void parseBody(uint32_t function);

  // Function bodies.
  void parseStatement();
  void parseRegisters();
  void parseLocalParam();
  void parseInstruction();
  void parseCall(Instr instr);
  void parseBranch(Instr instr, const Token &op,
                   std::vector<std::string_view> modifiers);
  Operand parseOperand();
  Operand parseAddress();
  void parsePair(std::vector<Operand> &operands);
  int64_t parseOffset();
  Operand special(const Token &word);
  const Symbol *find(std::string_view name) const;
  void declare(std::string_view name, Symbol symbol);
  void openScope() { scopes.emplace_back(); }
  void closeScope();
  uint32_t allocateLocal(uint64_t bytes, uint32_t align);
  std::string describe(const Token &op,
                       const std::vector<std::string_view> &modifiers) const;

  std::string_view text;
  std::vector<Token> tokens;
  size_t position = 0;
  std::string message;
  std::unique_ptr<Program> program = std::make_unique<Program>();
  DecodeTable table;
  std::map<std::tuple<uint64_t, bool, uint32_t>, Ref> constantRefs;
  std::vector<Scope> scopes;
  uint32_t current = kNone; ///< function being parsed
  // What .func take, before the kernels.
  uint32_t functionSlots = 0, functionPredicates = 0, functionLocal = 0;
  struct Body {
    uint32_t function;
    size_t position;
    Scope parameters;
  };
  std::vector<Body> bodies;
  Scope pendingParameters;
  std::deque<std::string> generated; ///< names of numbered registers
};

} // namespace

Ref Parser::constant(Constant constant) {
  auto key = std::tuple(constant.bits, constant.wide, constant.variable);
  auto [entry, isNew] = constantRefs.try_emplace(key);
  if (isNew) {
    entry->second.slot = program->constantSlotCount;
    entry->second.bank = Bank::Constant;
    entry->second.wide = constant.wide;
    program->constantSlots.push_back(program->constantSlotCount);
    program->constantSlotCount += constant.wide ? 2 : 1;
    program->constants.push_back(constant);
  }
  return entry->second;
}

uint32_t Parser::addList(const std::vector<Ref> &refs) {
  uint32_t begin = program->lists.size();
  program->lists.insert(program->lists.end(), refs.begin(), refs.end());
  return begin;
}

//===----------------------------------------------------------------------===//
// Module
//===----------------------------------------------------------------------===//

std::unique_ptr<Program> Parser::run(std::string &error) {
  for (size_t begin = 0; begin <= text.size();) {
    size_t end = std::min(text.find('\n', begin), text.size());
    program->lines.emplace_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  tokens = tokenize(text, message);
  openScope();
  bool sawVersion = false;
  while (!failed() && peek().kind != Token::End) {
    sawVersion |= peek().isDot("version");
    parseModuleItem();
  }
  if (!sawVersion && !failed())
    message = "line 1: not PTX: there is no .version";
  // Functions first: see the head of this file.
  for (bool entries : {false, true})
    for (Body &body : bodies)
      if (!failed() && program->functions[body.function].isEntry == entries) {
        position = body.position;
        scopes.push_back(std::move(body.parameters));
        parseBody(body.function);
      }
  // Nothing may call itself: frames are static.
  std::vector<uint8_t> state(program->functions.size());
  std::function<void(uint32_t)> visit = [&](uint32_t index) {
    state[index] = 1;
    for (uint32_t callee : program->functions[index].calls) {
      if (state[callee] == 1 && !failed())
        message = "function '" + program->functions[callee].name +
                  "' calls itself, which is not modelled";
      if (state[callee] == 0)
        visit(callee);
    }
    state[index] = 2;
  };
  for (uint32_t i = 0; i < state.size(); ++i)
    if (state[i] == 0)
      visit(i);
  if (failed()) {
    error = message;
    return nullptr;
  }
  for (Function &function : program->functions)
    if (function.isEntry) {
      function.slots = std::max(function.slots, functionSlots);
      function.predicates = std::max(function.predicates, functionPredicates);
      function.localBytes = std::max(function.localBytes, functionLocal);
    }
  return std::move(program);
}

void Parser::skipBraces() {
  unsigned depth = 0;
  do {
    if (peek().kind == Token::End) {
      fail("a '{' that is never closed");
      return;
    }
    depth += peek().is('{');
    depth -= peek().is('}');
    next();
  } while (depth);
}

void Parser::parseModuleItem() {
  const Token &token = peek();
  if (token.kind != Token::Dot) {
    fail("expected a directive before '" + std::string(token.text) + "'");
    return;
  }
  if (takeDot("version") || takeDot("target") || takeDot("address_size") ||
      takeDot("file") || takeDot("pragma") || takeDot("alias")) {
    // To the next directive; versions such as 8.3 and strings lie between.
    unsigned line = token.line;
    while (peek().kind != Token::End && peek().line == line)
      next();
    return;
  }
  if (takeDot("section")) {
    while (!peek().is('{') && peek().kind != Token::End)
      next();
    skipBraces();
    return;
  }
  bool external = false;
  while (true) {
    if (takeDot("extern"))
      external = true;
    else if (!takeDot("visible") && !takeDot("weak") && !takeDot("common"))
      break;
  }
  if (takeDot("entry"))
    parseFunction(true);
  else if (takeDot("func"))
    parseFunction(false);
  else if (peek().isDot("global") || peek().isDot("const") ||
           peek().isDot("shared"))
    parseVariables(external);
  else
    fail("the directive '." + std::string(peek().text) + "' is not modelled");
}

/// Also of variables inside functions. The state space is the next token.
void Parser::parseVariables(bool external) {
  std::string_view spaceName = next().text;
  Space space = spaceName == "global"  ? Space::Global
                : spaceName == "const" ? Space::Const
                : spaceName == "local" ? Space::Local
                                       : Space::Shared;
  uint32_t align = 0, vector = 1;
  Type type;
  while (peek().kind == Token::Dot) {
    std::string_view word = next().text;
    if (word == "align")
      align = expectInteger();
    else if (word == "v2" || word == "v4" || word == "v8")
      vector = word[1] - '0';
    else if (word == "attribute") {
      expectPunct('(');
      while (!peek().is(')') && peek().kind != Token::End)
        next();
      expectPunct(')');
    } else if (type = parseType(word); !type.bits)
      return fail("the type '." + std::string(word) + "' is not modelled");
  }
  if (!type.bits)
    return fail("a variable without a type");
  do {
    auto variable = std::make_unique<Variable>();
    const Token &name = next();
    variable->name = name.text;
    variable->space = space;
    variable->external = external;
    variable->align = std::max<uint32_t>(align, type.bytes() * vector);
    uint64_t count = vector;
    bool open = false;
    while (takePunct('[')) {
      if (peek().kind == Token::Integer)
        count *= next().value;
      else
        open = true;
      expectPunct(']');
    }
    variable->bytes = open ? 0 : count * type.bytes();
    if (variable->bytes > (uint64_t(1) << 32))
      return fail("a variable of more than 4 GiB");
    Symbol symbol;
    if (space == Space::Local) {
      symbol.operand.kind = Operand::Local;
      symbol.operand.value = allocateLocal(variable->bytes, variable->align);
      declare(name.text, symbol);
      continue;
    }
    uint32_t index = program->variables.size();
    if (space != Space::Shared && !(external && open)) {
      variable->storage =
          std::make_unique<uint8_t[]>(variable->bytes + variable->align);
      uint64_t base = reinterpret_cast<uint64_t>(variable->storage.get());
      variable->address = alignUp(base, variable->align);
    }
    if (takePunct('=')) {
      if (open) {
        // The size is that of the initial value.
        fail("an array whose size its initial value gives is not modelled");
        return;
      }
      parseInitializer(*variable, type);
    }
    symbol.operand.kind = Operand::Symbol;
    symbol.operand.variable = index;
    declare(name.text, symbol);
    program->variables.push_back(std::move(variable));
  } while (!failed() && takePunct(','));
  expectPunct(';');
}

void Parser::parseInitializer(Variable &variable, Type element) {
  uint64_t at = 0;
  if (!takePunct('{'))
    return parseInitialValue(variable, element, at);
  unsigned depth = 1;
  while (depth && !failed()) {
    if (takePunct('{'))
      ++depth;
    else if (takePunct('}'))
      --depth;
    else if (!takePunct(','))
      parseInitialValue(variable, element, at);
  }
}

void Parser::parseInitialValue(Variable &variable, Type element, uint64_t &at) {
  if (at + element.bytes() > variable.bytes)
    return fail("an initial value that is longer than its variable");
  uint64_t value = 0;
  bool negative = takePunct('-');
  const Token &token = next();
  switch (token.kind) {
  case Token::Integer:
    value = negative ? 0 - token.value : token.value;
    break;
  case Token::Single:
    value = token.value;
    break;
  case Token::Double:
    value =
        element.bits == 32
            ? std::bit_cast<uint32_t>(float(std::bit_cast<double>(token.value)))
            : token.value;
    break;
  case Token::Word: {
    bool generic = token.text == "generic" && takePunct('(');
    std::string_view name = generic ? next().text : token.text;
    if (generic)
      expectPunct(')');
    const Symbol *symbol = find(name);
    if (!symbol || symbol->operand.kind != Operand::Symbol ||
        element.bits != 64 ||
        program->variables[symbol->operand.variable]->space == Space::Shared)
      return fail("the initial value '" + std::string(name) +
                  "' is not modelled");
    value =
        program->variables[symbol->operand.variable]->address + parseOffset();
    break;
  }
  default:
    return fail("the initial value '" + std::string(token.text) +
                "' is not modelled");
  }
  std::memcpy(reinterpret_cast<uint8_t *>(variable.address) + at, &value,
              element.bytes());
  at += element.bytes();
}

std::vector<ParamPlace> Parser::parseParameterList(bool inLocal,
                                                   uint32_t &bytes) {
  std::vector<ParamPlace> places;
  if (!takePunct('('))
    return places;
  while (!failed() && !takePunct(')')) {
    takePunct(',');
    if (!takeDot("param")) {
      fail("a parameter that is not in .param is not modelled");
      break;
    }
    ParamPlace place;
    Type type;
    while (peek().kind == Token::Dot) {
      std::string_view word = next().text;
      if (word == "align")
        place.align = std::max<uint32_t>(place.align, expectInteger());
      else if (word == "ptr") {
        // What follows is about the pointee.
        for (; peek().kind == Token::Dot; next())
          if (peek().text == "align") {
            next();
            if (peek().kind != Token::Integer)
              break;
          }
      } else if (Type named = parseType(word); named.bits)
        type = named;
      else
        fail("'." + std::string(word) + "' of a parameter is not modelled");
    }
    std::string_view name = next().text;
    place.name = name;
    uint64_t count = 1;
    while (takePunct('[')) {
      count *= expectInteger();
      expectPunct(']');
    }
    place.size = type.bytes() * count;
    place.align = std::max<uint32_t>(place.align, type.bytes());
    Symbol symbol;
    if (inLocal) {
      symbol.operand.kind = Operand::Local;
      place.offset =
          alignUp(functionLocal, std::max<uint32_t>(place.align, 16));
      functionLocal = place.offset + place.size;
    } else {
      symbol.operand.kind = Operand::Param;
      place.offset = bytes = alignUp(bytes, place.align);
      bytes += place.size;
    }
    symbol.operand.value = place.offset;
    pendingParameters.symbols[name] = symbol;
    places.push_back(place);
  }
  return places;
}

void Parser::parseFunction(bool isEntry) {
  Function function;
  function.isEntry = isEntry;
  uint32_t bytes = 0;
  pendingParameters = Scope();
  if (!isEntry)
    function.results = parseParameterList(true, bytes);
  const Token &name = next();
  function.name = name.text;
  function.parameters = parseParameterList(!isEntry, bytes);
  while (peek().kind == Token::Dot) {
    std::string_view word = next().text;
    Dim3 numbers = {1, 1, 1};
    uint32_t *values[] = {&numbers.x, &numbers.y, &numbers.z};
    for (unsigned i = 0; peek().kind == Token::Integer; takePunct(',')) {
      uint64_t value = next().value;
      if (i < 3)
        *values[i++] = value;
    }
    if (word == "maxntid" || word == "reqntid")
      function.maxThreads = numbers;
    else if (word != "minnctapersm" && word != "maxnreg" &&
             word != "noreturn" && word != "pragma" &&
             word != "blocksareclusters" && word != "maxclusterrank")
      return fail("'." + std::string(word) + "' of a function is not modelled");
  }
  // A declaration and its definition are one function.
  uint32_t index = 0;
  while (index < program->functions.size() &&
         program->functions[index].name != function.name)
    ++index;
  bool isNew = index == program->functions.size();
  if (!isNew && program->functions[index].defined)
    return fail("a second function '" + function.name + "'");
  function.defined = peek().is('{');
  if (isNew)
    program->functions.push_back(function);
  else
    program->functions[index] = function;
  if (!function.defined)
    return expectPunct(';');
  bodies.push_back({index, position, std::move(pendingParameters)});
  skipBraces();
}

void Parser::parseBody(uint32_t index) {
  current = index;
  Function &function = program->functions[index];
  function.begin = program->code.size();
  function.slots = functionSlots;
  function.predicates = functionPredicates;
  function.localBytes = functionLocal;
  expectPunct('{');
  openScope();
  while (!failed() && !peek().is('}'))
    parseStatement();
  closeScope();
  if (failed())
    return;
  expectPunct('}');
  if (!scopes.back().jumps.empty()) {
    const Scope::Jump &jump = scopes.back().jumps.front();
    failAt(jump.line, "no label '" + std::string(jump.label) + "'");
  }
  scopes.pop_back();
  // Whoever falls off the end leaves the function.
  Instr last;
  last.flow = function.isEntry ? Flow::Exit : Flow::Return;
  last.line = tokens[position - 1].line;
  program->code.push_back(last);
  if (!function.isEntry) {
    functionSlots = function.slots;
    functionPredicates = function.predicates;
    functionLocal = function.localBytes;
  }
}

//===----------------------------------------------------------------------===//
// Scopes
//===----------------------------------------------------------------------===//

const Symbol *Parser::find(std::string_view name) const {
  for (auto scope = scopes.rbegin(); scope != scopes.rend(); ++scope)
    if (auto found = scope->symbols.find(name); found != scope->symbols.end())
      return &found->second;
  return nullptr;
}

void Parser::declare(std::string_view name, Symbol symbol) {
  scopes.back().symbols[name] = std::move(symbol);
}

void Parser::closeScope() {
  Scope scope = std::move(scopes.back());
  scopes.pop_back();
  for (const Scope::Jump &jump : scope.jumps) {
    auto label = scope.labels.find(jump.label);
    if (label == scope.labels.end())
      scopes.back().jumps.push_back(jump);
    else if (jump.target == kNone)
      program->code[jump.instr].target = label->second;
    else
      program->targets[jump.target] = label->second;
  }
}

uint32_t Parser::allocateLocal(uint64_t bytes, uint32_t align) {
  Function &function = program->functions[current];
  uint32_t offset = alignUp(function.localBytes, std::max<uint32_t>(align, 1));
  function.localBytes = offset + bytes;
  return offset;
}

//===----------------------------------------------------------------------===//
// Function bodies
//===----------------------------------------------------------------------===//

void Parser::parseStatement() {
  const Token &token = peek();
  if (takePunct('{')) {
    openScope();
    while (!failed() && !peek().is('}'))
      parseStatement();
    expectPunct('}');
    return closeScope();
  }
  if (takePunct(';'))
    return;
  if (token.kind == Token::Dot) {
    if (token.text == "reg")
      return parseRegisters();
    if (token.text == "param")
      return parseLocalParam();
    if (token.text == "local" || token.text == "shared" ||
        token.text == "global" || token.text == "const")
      return parseVariables(false);
    if (token.text == "loc") { // to the end of the line
      while (peek().line == token.line && peek().kind != Token::End)
        next();
      return;
    }
    if (token.text == "pragma") {
      while (!takePunct(';') && peek().kind != Token::End)
        next();
      return;
    }
    return fail("the directive '." + std::string(token.text) +
                "' is not modelled");
  }
  if (token.kind == Token::Word && peek(1).is(':')) {
    std::string_view label = next().text;
    next();
    if (takeDot("branchtargets")) {
      auto &targets = scopes.back().branchTargets[label];
      do
        targets.push_back(next().text);
      while (takePunct(','));
      return expectPunct(';');
    }
    if (!scopes.back().labels.emplace(label, program->code.size()).second)
      fail("a second label '" + std::string(label) + "'");
    return;
  }
  if (token.kind == Token::Word || token.is('@'))
    return parseInstruction();
  fail("expected a statement before '" + std::string(token.text) + "'");
}

void Parser::parseRegisters() {
  next();
  if (peek().kind != Token::Dot)
    return fail("a register without a type");
  std::string_view typeName = next().text;
  Type type = parseType(typeName);
  if (!type.bits || type.width() > 64)
    return fail("registers of type '." + std::string(typeName) +
                "' are not modelled");
  Function &function = program->functions[current];
  auto add = [&](std::string_view name) {
    Symbol symbol;
    symbol.operand.kind =
        type.kind == Type::Pred ? Operand::Predicate : Operand::Register;
    Ref &ref = symbol.operand.ref;
    if (type.kind == Type::Pred) {
      ref.bank = Bank::Predicate;
      ref.slot = function.predicates++;
    } else {
      ref.bank = Bank::Register;
      ref.wide = type.width() == 64;
      ref.slot = function.slots;
      function.slots += ref.wide ? 2 : 1;
    }
    declare(name, symbol);
  };
  do {
    std::string_view name = next().text;
    if (!takePunct('<')) {
      add(name);
      continue;
    }
    uint64_t count = expectInteger();
    expectPunct('>');
    if (count > 100000)
      return fail("too many registers");
    for (uint64_t i = 0; i < count; ++i) {
      // The names are not in the text: they live as long as the parser.
      generated.push_back(std::string(name) + std::to_string(i));
      add(generated.back());
    }
  } while (!failed() && takePunct(','));
  expectPunct(';');
}

void Parser::parseLocalParam() {
  next();
  uint32_t align = 1;
  Type type;
  while (peek().kind == Token::Dot) {
    std::string_view word = next().text;
    if (word == "align")
      align = expectInteger();
    else if (type = parseType(word); !type.bits)
      return fail("the type '." + std::string(word) + "' is not modelled");
  }
  std::string_view name = next().text;
  uint64_t count = 1;
  while (takePunct('[')) {
    count *= expectInteger();
    expectPunct(']');
  }
  Symbol symbol;
  symbol.operand.kind = Operand::Local;
  symbol.operand.value =
      allocateLocal(type.bytes() * count, std::max<uint32_t>(align, 16));
  declare(name, symbol);
  expectPunct(';');
}

Operand Parser::special(const Token &word) {
  struct Entry {
    std::string_view name;
    Special special;
    bool wide;
  };
  static constexpr Entry entries[] = {
      {"%tid.x", Special::TidX, false},
      {"%tid.y", Special::TidY, false},
      {"%tid.z", Special::TidZ, false},
      {"%ntid.x", Special::NTidX, false},
      {"%ntid.y", Special::NTidY, false},
      {"%ntid.z", Special::NTidZ, false},
      {"%ctaid.x", Special::CtaX, false},
      {"%ctaid.y", Special::CtaY, false},
      {"%ctaid.z", Special::CtaZ, false},
      {"%nctaid.x", Special::NCtaX, false},
      {"%nctaid.y", Special::NCtaY, false},
      {"%nctaid.z", Special::NCtaZ, false},
      {"%laneid", Special::Lane, false},
      {"%warpid", Special::Warp, false},
      {"%nwarpid", Special::NWarp, false},
      {"%lanemask_eq", Special::MaskEq, false},
      {"%lanemask_lt", Special::MaskLt, false},
      {"%lanemask_le", Special::MaskLe, false},
      {"%lanemask_gt", Special::MaskGt, false},
      {"%lanemask_ge", Special::MaskGe, false},
      {"%dynamic_smem_size", Special::DynamicShared, false},
      {"%total_smem_size", Special::TotalShared, false},
      {"%smid", Special::Zero, false},
      {"%nsmid", Special::One, false},
      {"%gridid", Special::Zero64, true},
      // Each block is a cluster of its own.
      {"%cluster_ctarank", Special::Zero, false},
      {"%cluster_nctarank", Special::One, false},
      {"%cluster_ctaid.x", Special::Zero, false},
      {"%cluster_ctaid.y", Special::Zero, false},
      {"%cluster_ctaid.z", Special::Zero, false},
      {"%cluster_nctaid.x", Special::One, false},
      {"%cluster_nctaid.y", Special::One, false},
      {"%cluster_nctaid.z", Special::One, false},
      {"%clusterid.x", Special::CtaX, false},
      {"%clusterid.y", Special::CtaY, false},
      {"%clusterid.z", Special::CtaZ, false},
      {"%nclusterid.x", Special::NCtaX, false},
      {"%nclusterid.y", Special::NCtaY, false},
      {"%nclusterid.z", Special::NCtaZ, false},
  };
  Operand operand;
  std::string name(word.text);
  if (name == "%clock" || name == "%clock64" || name == "%globaltimer" ||
      name == "%globaltimer_lo" || name == "%clock_hi") {
    operand.kind = Operand::Clock;
    operand.ref.wide = name == "%clock64" || name == "%globaltimer";
    return operand;
  }
  if (peek().kind == Token::Dot && peek().text.size() == 1)
    name += "." + std::string(next().text);
  for (const Entry &entry : entries)
    if (entry.name == name) {
      operand.kind = Operand::Register;
      operand.ref.bank = Bank::Special;
      operand.ref.slot = static_cast<uint32_t>(entry.special);
      operand.ref.wide = entry.wide;
      return operand;
    }
  failAt(word.line,
         "'" + name +
             "' is not declared, or a special register that is not modelled");
  return operand;
}

/// "+ 4", "+-4", "-4" or nothing.
int64_t Parser::parseOffset() {
  int64_t offset = 0;
  while (true) {
    bool minus = false;
    if (takePunct('+'))
      minus = takePunct('-');
    else if (takePunct('-'))
      minus = true;
    else
      return offset;
    uint64_t value = expectInteger();
    offset = static_cast<int64_t>(minus ? uint64_t(offset) - value
                                        : uint64_t(offset) + value);
    if (failed())
      return offset;
  }
}

Operand Parser::parseAddress() {
  Operand address;
  address.kind = Operand::Address;
  Operand base;
  const Token &token = peek();
  if (token.kind == Token::Integer) {
    base.kind = Operand::Integer;
    base.value = next().value;
  } else if (token.kind == Token::Word) {
    base = parseOperand();
    if (base.kind == Operand::Name)
      fail("'" + std::string(base.name) + "' is not declared");
  } else {
    fail("expected an address before '" + std::string(token.text) + "'");
  }
  address.value = static_cast<uint64_t>(parseOffset());
  address.elements.push_back(std::move(base));
  // A tensor map's coordinates would follow here.
  expectPunct(']');
  return address;
}

Operand Parser::parseOperand() {
  Operand operand;
  if (takePunct('[')) {
    return parseAddress();
  }
  if (takePunct('{')) {
    operand.kind = Operand::Vector;
    while (!failed() && !takePunct('}')) {
      operand.elements.push_back(parseOperand());
      takePunct(',');
    }
    return operand;
  }
  if (takePunct('(')) {
    operand = parseOperand();
    expectPunct(')');
    return operand;
  }
  if (takePunct('!')) {
    operand = parseOperand();
    if (operand.kind != Operand::Predicate)
      fail("'!' before what is not a predicate");
    operand.ref.negated = !operand.ref.negated;
    return operand;
  }
  bool minus = takePunct('-');
  const Token &token = next();
  switch (token.kind) {
  case Token::Integer:
    operand.kind = Operand::Integer;
    operand.value = minus ? 0 - token.value : token.value;
    return operand;
  case Token::Single:
    operand.kind = Operand::Single;
    operand.value = token.value ^ (minus ? 0x80000000u : 0);
    return operand;
  case Token::Double:
    operand.kind = Operand::Double;
    operand.value = token.value ^ (minus ? uint64_t(1) << 63 : 0);
    return operand;
  case Token::Word:
    break;
  default:
    failAt(token.line,
           "expected an operand before '" + std::string(token.text) + "'");
    return operand;
  }
  if (token.text == "_")
    return operand;
  if (const Symbol *symbol = find(token.text)) {
    operand = symbol->operand;
    operand.name = token.text;
    if (operand.kind == Operand::Symbol) {
      // Only what a kernel names takes room in its shared memory.
      if (current != kNone &&
          program->variables[operand.variable]->space == Space::Shared) {
        auto &shared = program->functions[current].shared;
        if (std::find(shared.begin(), shared.end(), operand.variable) ==
            shared.end())
          shared.push_back(operand.variable);
      }
    }
    return operand;
  }
  if (token.text == "WARP_SZ") {
    operand.kind = Operand::Integer;
    operand.value = kWarp;
    return operand;
  }
  if (token.text[0] == '%')
    return special(token);
  operand.kind = Operand::Name;
  operand.name = token.text;
  return operand;
}

/// "a" or "a|b", which become two operands.
void Parser::parsePair(std::vector<Operand> &operands) {
  operands.push_back(parseOperand());
  Operand &first = operands.back();
  if (first.kind == Operand::Symbol || first.kind == Operand::Param ||
      first.kind == Operand::Local)
    first.value += static_cast<uint64_t>(parseOffset());
  if (takePunct('|'))
    operands.push_back(parseOperand());
}

std::string
Parser::describe(const Token &op,
                 const std::vector<std::string_view> &modifiers) const {
  std::string name(op.text);
  for (std::string_view modifier : modifiers)
    name += "." + std::string(modifier);
  return name;
}

void Parser::parseInstruction() {
  Instr instr;
  if (takePunct('@')) {
    bool negated = takePunct('!');
    Operand guard = parseOperand();
    if (guard.kind != Operand::Predicate)
      return fail("a guard that is not a predicate");
    instr.guard = guard.ref;
    instr.guard.negated ^= negated;
  }
  const Token op = next();
  instr.line = op.line;
  if (op.kind != Token::Word)
    return failAt(op.line, "expected an instruction before '" +
                               std::string(op.text) + "'");
  std::vector<std::string_view> modifiers;
  while (peek().kind == Token::Dot)
    modifiers.push_back(next().text);
  if (op.text == "call")
    return parseCall(instr);
  if (op.text == "bra" || op.text == "brx")
    return parseBranch(instr, op, modifiers);
  auto decode = table.find(op.text);
  if (decode == table.end())
    return failAt(op.line, "the instruction '" + describe(op, modifiers) +
                               "' is not modelled");
  Decoder decoder(*this);
  decoder.op = op.text;
  decoder.modifiers = modifiers;
  decoder.instr = instr;
  while (!failed() && !takePunct(';')) {
    parsePair(decoder.operands);
    if (!takePunct(',') && !peek().is(';'))
      fail("expected ',' or ';' before '" + std::string(peek().text) + "'");
  }
  if (failed())
    return;
  decode->second(decoder);
  if (!decoder.failed() && !decoder.modifiers.empty())
    decoder.fail("the modifier '." + std::string(decoder.modifiers.front()) +
                 "' is not modelled");
  if (decoder.failed())
    return failAt(op.line, "the instruction '" + describe(op, modifiers) +
                               "' is not modelled: " + decoder.error);
  program->code.push_back(decoder.instr);
}

void Parser::parseBranch(Instr instr, const Token &op,
                         std::vector<std::string_view> modifiers) {
  std::erase(modifiers, "uni");
  uint32_t index = program->code.size();
  if (op.text == "bra") {
    if (!modifiers.empty())
      return failAt(op.line, "the instruction '" + describe(op, modifiers) +
                                 "' is not modelled");
    instr.flow = Flow::Branch;
    scopes.back().jumps.push_back({next().text, index, kNone, op.line});
  } else {
    instr.flow = Flow::IndexBranch;
    Operand selector = parseOperand();
    if (modifiers != std::vector<std::string_view>{"idx"} ||
        selector.kind != Operand::Register || selector.ref.wide)
      return failAt(op.line, "this form of brx is not modelled");
    instr.src[0] = selector.ref;
    expectPunct(',');
    std::string_view list = next().text;
    const std::vector<std::string_view> *labels = nullptr;
    for (const Scope &scope : scopes)
      if (auto found = scope.branchTargets.find(list);
          found != scope.branchTargets.end())
        labels = &found->second;
    if (!labels)
      return failAt(op.line, "no .branchtargets '" + std::string(list) +
                                 "' before this");
    instr.target = program->targets.size();
    instr.targetCount = labels->size();
    for (std::string_view label : *labels) {
      scopes.back().jumps.push_back(
          {label, index, uint32_t(program->targets.size()), op.line});
      program->targets.push_back(0);
    }
  }
  expectPunct(';');
  program->code.push_back(instr);
}

/// call (results), function, (arguments); with .param variables.
void Parser::parseCall(Instr instr) {
  auto parseList = [&](std::vector<Operand> &list) {
    while (!failed() && !takePunct(')')) {
      list.push_back(parseOperand());
      takePunct(',');
    }
  };
  std::vector<Operand> results, arguments;
  if (takePunct('(')) {
    parseList(results);
    expectPunct(',');
  }
  std::string_view name = next().text;
  if (takePunct(',')) {
    if (takePunct('('))
      parseList(arguments);
    else
      return fail("an indirect call is not modelled");
  }
  expectPunct(';');
  uint32_t index = 0;
  while (index < program->functions.size() &&
         program->functions[index].name != name)
    ++index;
  if (index == program->functions.size() || !program->functions[index].defined)
    return failAt(instr.line, "a call of '" + std::string(name) +
                                  "', which is not defined here");
  const Function &callee = program->functions[index];
  CallSite site;
  site.function = index;
  auto copies = [&](const std::vector<Operand> &actual,
                    const std::vector<ParamPlace> &formal,
                    std::vector<CallCopy> &to, bool isResult) {
    if (actual.size() != formal.size())
      return failAt(instr.line, "wrong number of arguments");
    for (size_t i = 0; i < actual.size(); ++i) {
      if (actual[i].kind != Operand::Local)
        return failAt(instr.line,
                      "an argument that is not in .param is not modelled");
      uint32_t here = actual[i].value, there = formal[i].offset;
      to.push_back(
          {isResult ? there : here, isResult ? here : there, formal[i].size});
    }
  };
  copies(arguments, callee.parameters, site.arguments, false);
  copies(results, callee.results, site.results, true);
  instr.flow = Flow::Call;
  instr.target = program->calls.size();
  program->calls.push_back(std::move(site));
  program->functions[current].calls.push_back(index);
  program->code.push_back(instr);
}

std::unique_ptr<Program> quantopt::ptx::parseProgram(std::string text,
                                                     std::string &error) {
  return Parser(text).run(error);
}
