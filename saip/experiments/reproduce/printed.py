"""The figures of the tables as they are printed, a row of a table in each line."""

TABLE_I = """
supervised starnet-s3   90.5 65.8 55.4 44.8 79.1 71.9
supervised cspnext-s    89.8 63.6 47.5 33.6 78.9 67.3
supervised vit-tiny-p16 89.3 65.9 51.1 45.9 74.5 68.0
supervised edgenext-s   89.5 67.5 58.0 47.4 80.6 70.8
supervised tinyvit-5m   89.1 68.9 57.8 40.9 76.5 69.5
DINO       vit-tiny-p16 90.5 65.8 55.3 40.2 77.4 69.3
MAE        vit-tiny-p16 79.7 39.9 36.6 19.1 68.3 61.1
MAE+DINO   vit-tiny-p16 89.2 61.6 52.7 37.7 72.9 66.5
HAP        vit-tiny-p16 81.6 42.4 40.2 20.4 66.3 64.1
SOLIDER    vit-tiny-p16 91.6 69.2 55.5 40.7 78.6 69.4
SAIP       vit-tiny-p16 93.6 75.6 59.2 46.1 80.7 71.4
SAIP*      vit-tiny-p16 95.2 83.1 65.9 56.9 82.7 72.4
DINO       starnet-s3   89.1 60.6 48.5 36.1 76.2 68.8
SOLIDER    starnet-s3   89.9 61.9 49.9 38.4 77.4 69.3
SAIP       starnet-s3   92.0 66.1 52.9 41.3 78.1 70.9
SAIP*      starnet-s3   95.3 83.4 65.4 56.7 83.6 73.2
DINO       tinyvit-5m   89.4 57.9 46.5 35.0 78.6 70.1
SOLIDER    tinyvit-5m   89.8 59.9 47.1 34.9 79.0 70.3
SAIP       tinyvit-5m   94.1 73.5 59.6 47.7 82.1 72.8
SAIP*      tinyvit-5m   96.0 84.6 66.2 53.2 83.5 74.8
"""
TABLE_II = """
supervised starnet-s3   71.9 75.1 50.5 62.4 52.4 61.9
supervised cspnext-s    70.0 73.3 50.3 62.3 54.6 63.6
supervised vit-tiny-p16 69.3 72.6 45.0 58.1 48.9 63.5
supervised edgenext-s   71.6 74.8 50.5 62.2 54.9 65.5
supervised tinyvit-5m   69.2 72.7 53.7 65.0 56.2 67.7
DINO       vit-tiny-p16 69.3 72.6 43.9 57.1 48.7 59.3
MAE        vit-tiny-p16 67.0 70.6 40.1 52.7 43.5 54.0
MAE+DINO   vit-tiny-p16 69.9 73.2 45.1 58.2 49.8 60.3
HAP        vit-tiny-p16 68.8 72.3 42.6 55.4 44.4 54.5
SOLIDER    vit-tiny-p16 69.3 72.6 44.2 57.2 48.9 59.2
SAIP       vit-tiny-p16 70.1 73.3 45.7 58.7 52.3 63.3
SAIP*      vit-tiny-p16 70.9 74.1 46.3 59.6 55.2 67.6
DINO       starnet-s3   71.1 74.3 49.5 60.8 51.4 60.1
SOLIDER    starnet-s3   71.5 74.5 49.9 61.3 52.1 60.8
SAIP       starnet-s3   72.7 75.7 50.0 61.6 52.7 61.7
SAIP*      starnet-s3   72.3 75.5 52.7 64.2 54.3 63.6
DINO       tinyvit-5m   65.4 68.8 51.6 62.8 55.9 66.0
SOLIDER    tinyvit-5m   65.7 69.0 51.5 62.7 56.2 66.7
SAIP       tinyvit-5m   72.1 75.0 53.9 65.2 58.3 68.8
SAIP*      tinyvit-5m   73.3 76.2 54.2 65.5 57.0 67.9
"""
TABLE_III = """
supervised starnet-s3   89.2 45.3 50.9 49.4 36.9 33.8
supervised resnet18     86.9 48.7 51.3 49.6 35.2 32.8
supervised vit-tiny-p16 86.9 50.0 47.5 46.1 37.5 34.8
supervised edgenext-s   89.6 44.3 53.0 51.3 40.1 37.1
supervised tinyvit-5m   88.9 44.6 51.7 50.4 38.5 35.3
DINO       vit-tiny-p16 86.1 51.6 46.9 45.7 35.4 32.9
MAE        vit-tiny-p16 83.7 56.5 45.8 44.4 32.0 30.3
MAE+DINO   vit-tiny-p16 86.4 50.2 47.4 46.2 37.7 35.2
HAP        vit-tiny-p16 83.3 57.5 44.1 42.8 33.0 30.4
SOLIDER    vit-tiny-p16 85.7 51.9 46.8 45.7 36.7 34.2
SAIP       vit-tiny-p16 87.1 49.6 48.2 46.9 38.0 35.5
SAIP*      vit-tiny-p16 87.2 49.4 49.2 47.8 38.0 35.4
DINO       starnet-s3   86.6 48.7 50.2 49.1 32.7 29.9
SOLIDER    starnet-s3   86.1 52.1 50.0 49.1 34.3 31.5
SAIP       starnet-s3   88.1 47.4 50.3 48.6 33.9 31.3
SAIP*      starnet-s3   88.8 45.5 52.9 51.2 37.9 35.0
DINO       tinyvit-5m   88.9 43.6 49.8 48.9 36.1 33.4
SOLIDER    tinyvit-5m   89.5 43.3 49.9 48.9 35.9 33.2
SAIP       tinyvit-5m   90.5 40.4 51.8 50.7 39.2 35.8
SAIP*      tinyvit-5m   90.6 41.3 53.4 52.2 41.3 38.1
"""
TABLE_V = """
IN1K              90.2 77.8 50.1
HP1M              93.9 80.9 53.0
LUP1M             93.6 80.7 52.3
LUP2M             93.7 80.4 52.6
LUP4M             93.9 80.9 52.4
LUP1M+IN1K        93.8 81.4 52.4
LUP1M+HP1M        94.0 81.7 52.9
LUP1M+HP1M+IN1K   94.4 82.3 53.6
"""
TABLE_VI = """
0.25 91.2 80.6 51.7
0.5  93.6 80.8 52.0
0.75 93.6 81.1 52.3
1    93.6 80.7 52.3
"""
TABLE_VII = """
DINO     65.7 16.1 58.0
MAE      65.1 13.9 48.8
MAE+DINO 67.4 18.2 59.5
HAP      66.0 13.2 50.5
SOLIDER  66.7 16.0 57.4
SAIP     67.5 18.2 60.8
"""
CAE = """
MAE-base  1600 67.8 74.2 83.6 48.1 48.4 42.6
MAE-large 1600 76.0 78.8 86.0 53.6 54.0 47.1
CAE-base  300  64.5 74.0 83.6 48.1 48.3 42.7
CAE-base  800  68.9 75.9 83.8 49.7 49.9 43.9
CAE-base  1600 70.3 77.2 83.9 50.3 50.3 44.2
CAE-large 1600 77.8 81.2 86.2 54.9 54.5 47.5
"""
"""CAE's README: linear and attentive probing, fine-tuning, ADE20K, COCO boxes and masks."""
