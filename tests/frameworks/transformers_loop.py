"""A tiny BERT that tells whether a row of tokens holds more high numbers than low ones, trained by Trainer."""

import tempfile

import torch
from torch.utils.data import Dataset
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments, set_seed


class Rows(Dataset):
    """Random tokens; the label says whether more than half are in the upper half of the vocabulary."""

    def __init__(self, count, seed):
        generator = torch.Generator().manual_seed(seed)
        self.tokens = torch.randint(2, 64, (count, 15), generator=generator)
        self.labels = ((self.tokens >= 33).sum(1) > 7).long()

    def __len__(self):
        return len(self.tokens)

    def __getitem__(self, index):
        return {"input_ids": self.tokens[index], "labels": self.labels[index]}


def main():
    set_seed(0)
    config = BertConfig(
        vocab_size=64,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=16,
    )
    model = BertForSequenceClassification(config)
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=32,
            num_train_epochs=4,
            learning_rate=2e-3,
            eval_strategy="epoch",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            use_cpu=True,
            seed=0,
        )
        trainer = Trainer(
            model=model, args=arguments, train_dataset=Rows(1500, 1), eval_dataset=Rows(400, 2)
        )
        trainer.train()
        print("loss", trainer.evaluate()["eval_loss"])
    print("weights", sum(p.double().abs().sum().item() for p in model.parameters()))


if __name__ == "__main__":
    main()
