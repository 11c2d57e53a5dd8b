//===- Recipe.cpp - What is done with which layers, from a file -----------===//
//
// Part of quant-opt, under the Apache License v2.0 with LLVM Exceptions.
// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
//
//===----------------------------------------------------------------------===//

#include "Recipe.h"

#include "mlir/IR/Diagnostics.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/YAMLParser.h"

using namespace mlir;
namespace yaml = llvm::yaml;

namespace quantopt::lowbit {

namespace {
/// Walks the nodes of one file. Nodes can be walked only once and in order.
class RecipeReader {
public:
  RecipeReader(const llvm::MemoryBuffer &file, MLIRContext *context)
      : context(context), path(file.getBufferIdentifier()) {
    // What the parser itself finds wrong becomes a diagnostic as well.
    sourceMgr.setDiagHandler(
        [](const llvm::SMDiagnostic &diag, void *reader) {
          auto *self = static_cast<RecipeReader *>(reader);
          // Lines count from 1, columns from 0.
          emitError(self->at(diag.getLineNo(), diag.getColumnNo() + 1))
              << "not YAML: " << diag.getMessage();
        },
        this);
    stream.emplace(file.getMemBufferRef(), sourceMgr);
  }

  FailureOr<Recipe> read();

private:
  struct Entry {
    yaml::Node *keyNode;
    std::string key;
    yaml::Node *value;
  };

  FileLineColLoc at(unsigned line, unsigned column) const {
    return FileLineColLoc::get(context, path, line, column);
  }
  FileLineColLoc locOf(yaml::Node *node) const;
  /// Fails with a diagnostic, unless the parser has made one.
  LogicalResult error(yaml::Node *node, const Twine &message) {
    return stream->failed() ? failure() : emitError(locOf(node), message);
  }

  /// The text of a plain or quoted scalar.
  std::optional<std::string> textOf(yaml::Node *node);
  /// Calls `readEntry` for each entry of the map `node`; `what` it should be.
  LogicalResult readMap(yaml::Node *node, StringRef what,
                        llvm::function_ref<LogicalResult(Entry)> readEntry);
  LogicalResult readSetting(const Entry &entry, StringRef otherKeys,
                            std::vector<RecipeSetting> &settings);
  LogicalResult readPattern(yaml::Node *node, RecipeRule &rule);
  LogicalResult readMatch(yaml::Node *node, RecipeRule &rule);
  LogicalResult readRule(yaml::Node *node, Recipe &recipe);
  LogicalResult readRules(yaml::Node *node, Recipe &recipe);

  MLIRContext *context;
  StringRef path;
  llvm::SourceMgr sourceMgr;
  std::optional<yaml::Stream> stream;
};
} // namespace

FileLineColLoc RecipeReader::locOf(yaml::Node *node) const {
  llvm::SMLoc start = node->getSourceRange().Start;
  if (!start.isValid() || !sourceMgr.FindBufferContainingLoc(start))
    return at(1, 1); // an empty file
  auto [line, column] = sourceMgr.getLineAndColumn(start);
  return at(line, column);
}

std::optional<std::string> RecipeReader::textOf(yaml::Node *node) {
  auto *scalar = dyn_cast<yaml::ScalarNode>(node);
  if (!scalar)
    return std::nullopt;
  SmallString<32> storage;
  std::string text = scalar->getValue(storage).str();
  if (stream->failed())
    return std::nullopt;
  return text;
}

LogicalResult
RecipeReader::readMap(yaml::Node *node, StringRef what,
                      llvm::function_ref<LogicalResult(Entry)> readEntry) {
  auto *map = dyn_cast<yaml::MappingNode>(node);
  if (!map)
    return error(node, "expected " + what);
  llvm::StringSet<> seen;
  for (yaml::KeyValueNode &pair : *map) {
    yaml::Node *keyNode = pair.getKey();
    std::optional<std::string> key;
    if (keyNode)
      key = textOf(keyNode);
    if (!key)
      return error(keyNode ? keyNode : node, "expected a key and its value");
    if (!seen.insert(*key).second)
      return error(keyNode, "key '" + *key + "' stands here twice");
    yaml::Node *value = pair.getValue();
    if (!value || isa<yaml::NullNode>(value))
      return error(keyNode, "key '" + *key + "' has no value");
    if (failed(readEntry({keyNode, *key, value})))
      return failure();
  }
  return failure(stream->failed());
}

LogicalResult RecipeReader::readSetting(const Entry &entry, StringRef otherKeys,
                                        std::vector<RecipeSetting> &settings) {
  const LayerOption *option = findLayerOption(entry.key);
  if (!option) {
    auto names = llvm::map_range(
        layerOptions(), [](const LayerOption &known) { return known.name; });
    return error(entry.keyNode, "unknown key '" + entry.key + "': expected " +
                                    otherKeys + llvm::join(names, ", "));
  }
  std::optional<std::string> text = textOf(entry.value);
  LayerSpec scratch;
  if (!text || !option->set(*text, scratch))
    return error(entry.value,
                 "value of '" + entry.key + "': expected " + option->expected);
  settings.push_back({option, *text});
  return success();
}

LogicalResult RecipeReader::readPattern(yaml::Node *node, RecipeRule &rule) {
  std::optional<std::string> text = textOf(node);
  if (!text)
    return error(node, "value of 'match': expected a regular expression or a "
                       "list of them");
  llvm::Regex regex(*text);
  std::string why;
  if (!regex.isValid(why))
    return error(node, "value of 'match': not a regular expression: " + why);
  rule.match.push_back({*text, std::move(regex), locOf(node)});
  return success();
}

LogicalResult RecipeReader::readMatch(yaml::Node *node, RecipeRule &rule) {
  auto *list = dyn_cast<yaml::SequenceNode>(node);
  if (!list)
    return readPattern(node, rule);
  for (yaml::Node &item : *list)
    if (failed(readPattern(&item, rule)))
      return failure();
  return success();
}

LogicalResult RecipeReader::readRule(yaml::Node *node, Recipe &recipe) {
  RecipeRule rule = {locOf(node), {}, false, {}};
  auto readEntry = [&](const Entry &entry) -> LogicalResult {
    if (entry.key == "match")
      return readMatch(entry.value, rule);
    if (entry.key != "skip")
      return readSetting(entry, "match, skip, ", rule.settings);
    std::optional<std::string> text = textOf(entry.value);
    if (text != "true" && text != "false")
      return error(entry.value, "value of 'skip': expected 'true' or 'false'");
    rule.skip = text == "true";
    return success();
  };
  if (failed(
          readMap(node, "a rule: a map with 'match' and options", readEntry)))
    return failure();
  if (rule.match.empty())
    return emitError(rule.loc, "this rule has no 'match': expected a regular "
                               "expression on layer names");
  recipe.rules.push_back(std::move(rule));
  return success();
}

LogicalResult RecipeReader::readRules(yaml::Node *node, Recipe &recipe) {
  auto *list = dyn_cast<yaml::SequenceNode>(node);
  if (!list)
    return error(node, "value of 'layers': expected a list of rules");
  for (yaml::Node &item : *list)
    if (failed(readRule(&item, recipe)))
      return failure();
  return success();
}

FailureOr<Recipe> RecipeReader::read() {
  yaml::document_iterator document = stream->begin();
  yaml::Node *root = document->getRoot();
  if (!root)
    return failure();
  Recipe recipe;
  auto readPart = [&](const Entry &entry) -> LogicalResult {
    if (entry.key == "layers")
      return readRules(entry.value, recipe);
    if (entry.key != "defaults")
      return error(entry.keyNode, "unknown key '" + entry.key +
                                      "': expected 'defaults' or 'layers'");
    return readMap(entry.value, "a map of options", [&](const Entry &option) {
      return readSetting(option, "", recipe.defaults);
    });
  };
  if (failed(readMap(root, "a map with 'defaults' and 'layers'", readPart)))
    return failure();
  if (++document != stream->end())
    return error(document->getRoot(), "expected one document, found another");
  return recipe;
}

FailureOr<Recipe> readRecipe(StringRef path, Location loc) {
  auto file = llvm::MemoryBuffer::getFile(path, /*IsText=*/true);
  if (!file)
    return emitError(loc, "option recipe=")
           << path << ": cannot be read: " << file.getError().message();
  return RecipeReader(**file, loc.getContext()).read();
}

} // namespace quantopt::lowbit
